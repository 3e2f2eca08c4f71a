package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/schemas/arrowipc"
)

// A LetterDetail is a dead letter with the input it holds, as it was on the wire and as people read it.
type LetterDetail struct {
	Letter
	Event     json.RawMessage `json:"event"`     // structured CloudEvents JSON, untouched; null for a reader
	Trace     string          `json:"trace"`     // W3C trace context
	AtS       *float64        `json:"at_s"`      // where in the recording the input begins [s]
	Tables    []TableHead     `json:"tables"`    // of an event with tables
	Documents []pipeline.Doc  `json:"documents"` // of an event with documents
	Damage    string          `json:"damage"`    // why the data cannot be read, or where it lies when it is too large for the letter
}

// A TableHead is the first rows of a table; null stands for what is not a number.
type TableHead struct {
	Name    string       `json:"name"`
	Rows    int          `json:"rows"`
	Columns []string     `json:"columns"`
	Head    [][]*float64 `json:"head"`
}

const headRows = 20

func (s *Server) letter(ctx context.Context, q query) (any, error) {
	name, id := q.Get("pipeline"), q.Get("letter")
	all, err := s.letters.all(ctx, false)
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		if l.Pipeline != name || l.ID != id {
			continue
		}
		whole, err := s.whole(ctx, l)
		if err != nil {
			return nil, err
		}
		return detailOf(s.atHome(l), whole), nil
	}
	return nil, notFound("no dead letter %q in pipeline %q", id, name)
}

func detailOf(l Letter, whole schemas.DeadLetter) LetterDetail {
	d := LetterDetail{Letter: l, Event: whole.Event, Tables: []TableHead{}, Documents: []pipeline.Doc{}}
	d.decode()
	if whole.Left != nil {
		d.Damage = whole.Left.String()
	}
	return d
}

// whole is the letter with the input that it holds.
func (s *Server) whole(ctx context.Context, l Letter) (schemas.DeadLetter, error) {
	full, err := s.c.Engine.Letters(ctx, l.Pipeline)
	if err != nil {
		return schemas.DeadLetter{}, err
	}
	for _, f := range full {
		if f.ID == l.ID {
			return f.Letter, nil
		}
	}
	return schemas.DeadLetter{}, notFound("dead letter %q was purged", l.ID)
}

// decode reads the event's data. What cannot be read is named in Damage: that may be why the letter is dead.
func (d *LetterDetail) decode() {
	if len(d.Event) == 0 {
		return
	}
	var e struct {
		Trace       string          `json:"traceparent"`
		ContentType string          `json:"datacontenttype"`
		Tables      json.RawMessage `json:"tables"`
		Data        json.RawMessage `json:"data"`
		Base64      []byte          `json:"data_base64"`
	}
	if err := json.Unmarshal(d.Event, &e); err != nil {
		d.Damage = err.Error()
		return
	}
	d.Trace = e.Trace
	var err error
	switch {
	case len(e.Data) > 0:
		d.Documents, err = schemas.DecodeDocs(e.Data, e.ContentType)
	case len(e.Base64) > 0:
		err = d.tables(e.Base64, e.ContentType, e.Tables)
	}
	if err != nil {
		d.Damage = err.Error()
	}
}

func (d *LetterDetail) tables(data []byte, contentType string, count json.RawMessage) error {
	n := 1
	if len(count) > 0 {
		if _, err := fmt.Sscan(string(trimQuotes(count)), &n); err != nil {
			return fmt.Errorf("number of tables %s: %w", count, err)
		}
	}
	tables, slice, err := arrowipc.Decode(data, contentType, n)
	if err != nil {
		return err
	}
	at := slice.From.Seconds()
	if slice.From >= 0 && slice.From < 1000*24*time.Hour {
		d.AtS = &at
	}
	for _, t := range tables {
		d.Tables = append(d.Tables, head(t))
	}
	return nil
}

func trimQuotes(b []byte) []byte {
	if len(b) >= 2 && b[0] == '"' {
		return b[1 : len(b)-1]
	}
	return b
}

func head(t schemas.Table) TableHead {
	h := TableHead{Name: t.Name, Rows: t.Rows(), Columns: append([]string{schemas.TimeColumn}, t.Signals()...), Head: [][]*float64{}}
	for i := range min(t.Rows(), headRows) {
		row := make([]*float64, 0, len(h.Columns))
		for _, c := range h.Columns {
			row = append(row, cell(t, c, i))
		}
		h.Head = append(h.Head, row)
	}
	return h
}

func cell(t schemas.Table, column string, row int) *float64 {
	v := math.NaN()
	if f := t.Float64(column); f != nil {
		v = f[row]
	} else if n := t.Int64(column); n != nil {
		v = float64(n[row])
	}
	return finite(v)
}

// finite is nil for what JSON has no number for.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
