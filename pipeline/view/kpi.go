package view

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/milepost-dev/milepost/schemas"
)

// A Histogram is the sum of a histogram over recordings.
type Histogram struct {
	Name       string    `json:"name"`
	Edges      []float64 `json:"edges"` // lower edge of each bin; the last one is open
	Counts     []int64   `json:"counts"`
	None       int64     `json:"none"`       // samples without a value
	Recordings int       `json:"recordings"` // how many were added
}

// Histograms of a KPI document, with the lower edges that the AEB function's definition fixes (its section 7).
var histogramEdges = map[string][]float64{
	"ttc_hist":  {0, 0.5, 1, 1.5, 2, 2.6, 4, 6, 10, 20}, // s
	"areq_hist": {0, 0.5, 1, 2, 3, 4, 5, 6, 8},          // m/s²
}

// Histogram adds up kpis.<name> ("ttc_hist" or "areq_hist") over the last schemas.AEBKPI document of each job of the filter,
// so it grows while a run goes on. Choose f.Jobs, or older versions of a job count too. ErrNotFound: another name.
func (s *Store) Histogram(ctx context.Context, f Filter, name string) (Histogram, error) {
	edges := histogramEdges[name]
	if edges == nil {
		return Histogram{}, fmt.Errorf("histogram %q: %w", name, ErrNotFound)
	}
	h := Histogram{Name: name, Edges: edges, Counts: make([]int64, len(edges))}
	err := s.eachKPI(ctx, f, func(_ schemas.JobID, _ string, kpis json.RawMessage) error {
		var k map[string]json.RawMessage
		var counts []int64
		if json.Unmarshal(kpis, &k) != nil || json.Unmarshal(k[name], &counts) != nil || len(counts) != len(edges) {
			return nil // a KPI document of another analysis
		}
		for i, n := range counts {
			h.Counts[i] += n
		}
		var none int64
		if name == "ttc_hist" && json.Unmarshal(k["ttc_none"], &none) == nil {
			h.None += none
		}
		h.Recordings++
		return nil
	})
	return h, err
}

// eachKPI yields the object kpis of the last KPI document of each job of a filter that has one, in order of item.
func (s *Store) eachKPI(ctx context.Context, f Filter, yield func(job schemas.JobID, item string, kpis json.RawMessage) error) error {
	where, args := f.where()
	query := "SELECT j.job, j.item, json_extract(" + lastDoc + ", '$.kpis') AS kpis FROM jobs j WHERE " + where + " AND kpis IS NOT NULL ORDER BY j.item, j.job"
	rows, err := s.read.QueryContext(ctx, query, append([]any{schemas.AEBKPI}, args...)...)
	if err != nil {
		return fmt.Errorf("list KPIs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var job, item string
		var kpis []byte
		if err := rows.Scan(&job, &item, &kpis); err != nil {
			return fmt.Errorf("list KPIs: %w", err)
		}
		if err := yield(schemas.JobID(job), item, kpis); err != nil {
			return err
		}
	}
	return rows.Err()
}

// A Worst is a recording in the order of how close it came.
type Worst struct {
	Job         schemas.JobID `json:"job"`
	Item        string        `json:"item"`
	MinETTC     float64       `json:"min_ettc"` // s
	MinETTCAt   *float64      `json:"min_ettc_t_s"`
	MinTTC      *float64      `json:"min_ttc"`  // s
	MaxAReq     *float64      `json:"max_areq"` // m/s²
	Events      int           `json:"events"`
	Unconfirmed int           `json:"unconfirmed"` // brakings that nothing confirms: false positive candidates
}

// WorstRecordings lists up to n recordings of a filter by their least ETTC, then by item; those without one are left out.
func (s *Store) WorstRecordings(ctx context.Context, f Filter, n int) ([]Worst, error) {
	where, args := f.where()
	query := `SELECT job, item, json_extract(kpis, '$.min_ettc') AS least, json_extract(kpis, '$.min_ettc_t_ns') / 1e9, json_extract(kpis, '$.min_ttc'),
		json_extract(kpis, '$.max_areq'), coalesce(json_extract(kpis, '$.events'), 0), coalesce(json_extract(kpis, '$.verdicts.unconfirmed'), 0) FROM (
		SELECT j.job, j.item, json_extract(` + lastDoc + ", '$.kpis') AS kpis FROM jobs j WHERE " + where + `)
		WHERE least IS NOT NULL ORDER BY least, item, job` + Page{Limit: n}.limit()
	rows, err := s.read.QueryContext(ctx, query, append([]any{schemas.AEBKPI}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("list the worst recordings: %w", err)
	}
	defer rows.Close()
	worst := []Worst{}
	for rows.Next() {
		var w Worst
		if err := rows.Scan(&w.Job, &w.Item, &w.MinETTC, &w.MinETTCAt, &w.MinTTC, &w.MaxAReq, &w.Events, &w.Unconfirmed); err != nil {
			return nil, fmt.Errorf("list the worst recordings: %w", err)
		}
		worst = append(worst, w)
	}
	return worst, rows.Err()
}
