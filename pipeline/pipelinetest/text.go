package pipelinetest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// Start is when the recordings of Batches begin.
var Start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Batches makes the batches of one recording of texts, one of each. A text is a table: a line of column names, the first of
// them t, then a line for each row, columns apart by white space. t is in seconds since Start and does not decrease; other
// columns are numbers, NaN or -, which is NaN too. Tables are named "rows"; a line [ego] before the column names gives
// another name, and begins a further table of the batch. A line @type sets the event type (first it is eventType), and with
// it the lines below may be JSON documents instead. From one batch to the next the slices join.
func Batches(t testing.TB, eventType string, texts ...string) []pipeline.Batch {
	t.Helper()
	batches := make([]pipeline.Batch, 0, len(texts))
	for i, text := range texts {
		b, err := parseBatch(eventType, text)
		if err != nil {
			t.Fatalf("text %d: %v", i+1, err)
		}
		batches = append(batches, b)
	}
	joinSlices(batches)
	return batches
}

func parseBatch(eventType, text string) (pipeline.Batch, error) {
	b := pipeline.Batch{Type: eventType}
	table := textTable{name: "rows"}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		var err error
		switch {
		case line == "":
		case line[0] == '@':
			b.Type = line[1:]
		case line[0] == '{':
			b.Docs = append(b.Docs, pipeline.Doc(line))
		case line[0] == '[':
			err = table.flush(&b)
			table = textTable{name: strings.Trim(line, "[]")}
		default:
			err = table.line(strings.Fields(line))
		}
		if err != nil {
			return b, err
		}
	}
	return b, table.flush(&b)
}

type textTable struct {
	name    string
	times   []int64
	columns []schemas.Column
}

func (p *textTable) line(words []string) error {
	if p.columns == nil && p.times == nil {
		if words[0] != schemas.TimeColumn {
			return fmt.Errorf("table %s: the first column is %q, not t", p.name, words[0])
		}
		p.times, p.columns = []int64{}, []schemas.Column{}
		for _, name := range words[1:] {
			p.columns = append(p.columns, schemas.Column{Name: name, Float64: []float64{}})
		}
		return nil
	}
	if len(words) != 1+len(p.columns) {
		return fmt.Errorf("table %s: %d values in a row of %d columns: %v", p.name, len(words), 1+len(p.columns), words)
	}
	seconds, err := number(words[0])
	if err != nil {
		return err
	}
	p.times = append(p.times, int64(math.Round(seconds*1e9)))
	for i := range p.columns {
		v, err := number(words[1+i])
		if err != nil {
			return err
		}
		p.columns[i].Float64 = append(p.columns[i].Float64, v)
	}
	return nil
}

func number(word string) (float64, error) {
	if word == "-" {
		return math.NaN(), nil
	}
	return strconv.ParseFloat(word, 64)
}

func (p *textTable) flush(b *pipeline.Batch) error {
	if len(p.times) == 0 {
		return nil
	}
	t, err := schemas.NewTable(p.name, p.times, p.columns...)
	b.Tables = append(b.Tables, t)
	return err
}

// joinSlices lets each slice begin at the batch's first row and end at the next one's, the last one a nanosecond behind its
// last row.
func joinSlices(batches []pipeline.Batch) {
	at := time.Duration(0)
	for i := range batches {
		b := &batches[i]
		first, last := span(b.Tables, at)
		b.Slice = schemas.Slice{Start: Start, From: first, To: last + 1}
		if i > 0 {
			batches[i-1].To = first
		}
		at = last
	}
}

// span is the first and the last time of the tables, at when they have no rows.
func span(tables []pipeline.Table, at time.Duration) (first, last time.Duration) {
	first, last = at, at
	for i, t := range tables {
		times := t.Times()
		if from := time.Duration(times[0]); i == 0 || from < first {
			first = from
		}
		if to := time.Duration(times[len(times)-1]); i == 0 || to > last {
			last = to
		}
	}
	return first, last
}
