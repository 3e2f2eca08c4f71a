package view

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/milepost-dev/milepost/schemas"
)

// A Recording is a job with what is known of its recording: a row of the dashboard's list.
type Recording struct {
	Job
	Start       *time.Time      `json:"start,omitempty"` // when the drive began, if the recording says
	DurationS   float64         `json:"duration_s"`      // of what was read so far, first to last sample
	Activations int             `json:"activations"`     // how often the AEB function began to act: documents of kind warn, partial or full from stage 0
	Findings    int             `json:"findings"`        // of signal health
	KPIs        json.RawMessage `json:"kpis"`            // the object kpis of the last schemas.AEBKPI document; null: none yet
	Health      json.RawMessage `json:"health"`          // the last schemas.HealthSummary document; null: none yet
}

// A Sort is an order of recordings.
type Sort string

// The orders; each ends with the order of queueing.
const (
	ByQueued      Sort = ""
	ByItem        Sort = "item"
	ByState       Sort = "state"
	ByDuration    Sort = "duration"
	ByActivations Sort = "activations"
	ByMinTTC      Sort = "min_ttc" // those without a TTC come last
	ByFindings    Sort = "findings"
)

var orders = map[Sort]string{
	ByQueued: "", ByItem: "j.item, ", ByState: "j.state, ", ByDuration: "duration DESC, ", ByActivations: "activations DESC, ",
	ByMinTTC: "json_extract(kpis, '$.min_ttc') IS NULL, json_extract(kpis, '$.min_ttc'), ", ByFindings: "findings DESC, ",
}

// Sorts lists the orders by name.
func Sorts() []Sort {
	return []Sort{ByQueued, ByItem, ByState, ByDuration, ByActivations, ByMinTTC, ByFindings}
}

// Recordings lists the jobs of a filter with their results, and says how many there are without the page.
func (s *Store) Recordings(ctx context.Context, f Filter, sort Sort, p Page) (list []Recording, total int, err error) {
	order, ok := orders[sort]
	if !ok {
		return nil, 0, fmt.Errorf("order %q is none of %q", sort, Sorts())
	}
	where, args := f.where()
	if err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM jobs j WHERE "+where, args...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count recordings: %w", err)
	}
	list, err = s.recordings(ctx, where, args, order, p)
	if err != nil {
		return nil, 0, fmt.Errorf("list recordings: %w", err)
	}
	return list, total, nil
}

// Recording returns one, or ErrNotFound.
func (s *Store) Recording(ctx context.Context, job schemas.JobID) (Recording, error) {
	list, err := s.recordings(ctx, "j.job = ?", []any{string(job)}, "", Page{})
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Recording{}, fmt.Errorf("recording of job %s: %w", job, err)
	}
	return list[0], nil
}

// lastDoc is the last document of a type of job j.
const lastDoc = "(SELECT d.doc FROM docs d WHERE d.type = ? AND d.job = j.job ORDER BY d.sequence DESC, d.row DESC LIMIT 1)"

func (s *Store) recordings(ctx context.Context, where string, args []any, order string, p Page) ([]Recording, error) {
	query := `SELECT j.row, j.progress, r.start_ns, coalesce(r.last_ns - r.first_ns, 0) AS duration,
		(SELECT count(*) FROM docs d WHERE d.type = ? AND d.job = j.job AND json_extract(d.doc, '$.from') = 0 AND json_extract(d.doc, '$.stage') > 0) AS activations,
		(SELECT count(*) FROM docs d WHERE d.type = ? AND d.job = j.job) AS findings,
		json_extract(` + lastDoc + `, '$.kpis') AS kpis, ` + lastDoc + ` AS health
		FROM jobs j LEFT JOIN recordings r ON r.job = j.job WHERE ` + where + " ORDER BY " + order + "j.queued_ns, j.item, j.job" + p.limit()
	args = slices.Concat([]any{schemas.AEBActivation, schemas.HealthFinding, schemas.AEBKPI, schemas.HealthSummary}, args)
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []Recording{}
	for rows.Next() {
		var r Recording
		var row, kpis, health []byte
		var progress float64
		var start *int64
		var duration int64
		if err := rows.Scan(&row, &progress, &start, &duration, &r.Activations, &r.Findings, &kpis, &health); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(row, &r.Job); err != nil {
			return nil, err
		}
		r.Progress, r.DurationS, r.KPIs, r.Health = progress, seconds(duration), kpis, health
		if start != nil && *start != 0 {
			at := time.Unix(0, *start).UTC()
			r.Start = &at
		}
		list = append(list, r)
	}
	return list, rows.Err()
}
