package view

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/schemas"
)

// A Document is one stored document.
type Document struct {
	Job      schemas.JobID   `json:"job"`
	Pipeline string          `json:"pipeline"`
	Item     string          `json:"item"`
	Stage    string          `json:"stage"`
	Sequence uint64          `json:"sequence"`
	Row      int             `json:"row"`
	Type     string          `json:"type"`
	TimeS    float64         `json:"t_s"` // since the recording's start: what the document says as t_ns or t_start_ns, else its event's time
	Doc      json.RawMessage `json:"doc"`
}

// A DocumentFilter chooses documents; a zero field is no condition.
type DocumentFilter struct {
	Job      schemas.JobID
	Stage    string
	Types    []string
	From, To time.Duration // since the recording's start, [From, To); To 0 is the end
}

// documentTime is a document's time since the recording's start. A recording whose signals are not stored has no start: the
// time of a document that does not say its own is then 0.
const documentTime = "coalesce(d.t_ns, d.at_ns - r.start_ns, 0)"

// Documents lists documents in order of time, then stage, sequence and row. Events of a recording: its job, and the type
// schemas.AEBActivation.
func (s *Store) Documents(ctx context.Context, f DocumentFilter, p Page) ([]Document, error) {
	conditions, args := []string{"1"}, []any{}
	add := func(condition string, values ...any) {
		conditions, args = append(conditions, condition), append(args, values...)
	}
	if f.Job != "" {
		add("d.job = ?", string(f.Job))
	}
	if f.Stage != "" {
		add("d.stage = ?", f.Stage)
	}
	if len(f.Types) > 0 {
		types := make([]any, len(f.Types))
		for i, t := range f.Types {
			types[i] = t
		}
		add("d.type IN (?"+strings.Repeat(", ?", len(types)-1)+")", types...)
	}
	if f.From != 0 {
		add(documentTime+" >= ?", int64(f.From))
	}
	if f.To != 0 {
		add(documentTime+" < ?", int64(f.To))
	}
	query := "SELECT d.job, coalesce(r.pipeline, ''), coalesce(r.item, ''), d.stage, d.sequence, d.row, d.type, " + documentTime + ` AS t, d.doc
		FROM docs d LEFT JOIN recordings r ON r.job = d.job WHERE ` + strings.Join(conditions, " AND ") + " ORDER BY t, d.job, d.stage, d.sequence, d.row"
	rows, err := s.read.QueryContext(ctx, query+p.limit(), args...)
	if err != nil {
		return nil, fmt.Errorf("list documents: %w", err)
	}
	defer rows.Close()
	docs := []Document{}
	for rows.Next() {
		var d Document
		var t, sequence int64
		if err := rows.Scan(&d.Job, &d.Pipeline, &d.Item, &d.Stage, &sequence, &d.Row, &d.Type, &t, (*[]byte)(&d.Doc)); err != nil {
			return nil, fmt.Errorf("list documents: %w", err)
		}
		d.Sequence, d.TimeS = uint64(sequence), seconds(t)
		docs = append(docs, d)
	}
	return docs, rows.Err()
}

// Last returns the last document of a type that a job's chains hold, such as its schemas.AEBKPI; ErrNotFound: none.
func (s *Store) Last(ctx context.Context, job schemas.JobID, eventType string) (json.RawMessage, error) {
	var doc []byte
	const query = "SELECT doc FROM docs WHERE type = ? AND job = ? ORDER BY sequence DESC, row DESC LIMIT 1"
	err := s.read.QueryRowContext(ctx, query, eventType, string(job)).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("%s of job %s: %w", eventType, job, err)
	}
	return doc, nil
}

// A Fleet is the fleet result of a stage in a run.
type Fleet struct {
	Run      string          `json:"run"`
	Pipeline string          `json:"pipeline"`
	Stage    string          `json:"stage"`
	Type     string          `json:"type"`
	Doc      json.RawMessage `json:"doc"`
}

// Fleets lists the fleet results of a run, of all runs when it is empty, in order of run, pipeline, stage and type.
func (s *Store) Fleets(ctx context.Context, run string) ([]Fleet, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT run, pipeline, stage, type, doc FROM fleet WHERE ? IN ('', run) ORDER BY run, pipeline, stage, type", run)
	if err != nil {
		return nil, fmt.Errorf("list fleet results: %w", err)
	}
	defer rows.Close()
	fleets := []Fleet{}
	for rows.Next() {
		var f Fleet
		if err := rows.Scan(&f.Run, &f.Pipeline, &f.Stage, &f.Type, (*[]byte)(&f.Doc)); err != nil {
			return nil, fmt.Errorf("list fleet results: %w", err)
		}
		fleets = append(fleets, f)
	}
	return fleets, rows.Err()
}
