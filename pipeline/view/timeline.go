package view

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/schemas"
)

// A Signal is one column of a recording's tables of which there is an overview.
type Signal struct {
	Ref    string  `json:"ref"` // stage/table.signal, what Timeline takes
	Stage  string  `json:"stage"`
	Table  string  `json:"table"`
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Rows   uint64  `json:"rows"` // of its table
	Late   uint64  `json:"late"` // rows of its table that stepped back in time and are not in the overview
	FirstS float64 `json:"first_s"`
	LastS  float64 `json:"last_s"`

	id int64
}

// Signals lists the signals of a job's chains in order of stage, table and column. An unknown job has none.
func (s *Store) Signals(ctx context.Context, job schemas.JobID) ([]Signal, error) {
	signals, _, err := s.signals(ctx, job)
	return signals, err
}

func (s *Store) signals(ctx context.Context, job schemas.JobID) ([]Signal, map[string]*tableFold, error) {
	folds, err := s.folds(ctx, job)
	if err != nil {
		return nil, nil, fmt.Errorf("signals of job %s: %w", job, err)
	}
	rows, err := s.read.QueryContext(ctx, "SELECT id, stage, name, signal, unit FROM series WHERE job = ? ORDER BY stage, name, id", string(job))
	if err != nil {
		return nil, nil, fmt.Errorf("signals of job %s: %w", job, err)
	}
	defer rows.Close()
	signals := []Signal{}
	for rows.Next() {
		var g Signal
		if err := rows.Scan(&g.id, &g.Stage, &g.Table, &g.Name, &g.Unit); err != nil {
			return nil, nil, err
		}
		g.Ref = g.Stage + "/" + g.Table + "." + g.Name
		if f := folds[g.table()]; f != nil {
			g.Rows, g.Late, g.FirstS, g.LastS = f.Rows, f.Late, seconds(f.First), seconds(f.Last)
		}
		signals = append(signals, g)
	}
	return signals, folds, rows.Err()
}

func (g Signal) table() string { return g.Stage + "/" + g.Table }

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

// folds are the states of a job's tables, by stage/table.
func (s *Store) folds(ctx context.Context, job schemas.JobID) (map[string]*tableFold, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT stage, name, state FROM folds WHERE job = ?", string(job))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	folds := map[string]*tableFold{}
	for rows.Next() {
		var stage, name string
		var state []byte
		if err := rows.Scan(&stage, &name, &state); err != nil {
			return nil, err
		}
		if folds[stage+"/"+name], err = decodeFold(state); err != nil {
			return nil, err
		}
	}
	return folds, rows.Err()
}

// find takes stage/table.signal, table.signal or the signal alone, as long as it names one.
func find(signals []Signal, ref string) (Signal, error) {
	var found []Signal
	for _, g := range signals {
		if ref == g.Ref {
			return g, nil
		}
		if ref == g.Table+"."+g.Name || ref == g.Name {
			found = append(found, g)
		}
	}
	switch len(found) {
	case 0:
		return Signal{}, fmt.Errorf("signal %q: %w", ref, ErrNotFound)
	case 1:
		return found[0], nil
	}
	refs := make([]string, 0, len(found))
	for _, g := range found {
		refs = append(refs, g.Ref)
	}
	return Signal{}, fmt.Errorf("signal %q %w: %s", ref, ErrAmbiguous, strings.Join(refs, ", "))
}

// A Timeline is signals over a window, one value for each column of the picture.
type Timeline struct {
	Job     schemas.JobID `json:"job"`
	FromS   float64       `json:"from_s"`
	ToS     float64       `json:"to_s"`
	ColumnS float64       `json:"column_s"` // width of a column
	BucketS float64       `json:"bucket_s"` // of the level that was read; never wider than a column
	T       []float64     `json:"t_s"`      // start of each column
	Series  []Series      `json:"series"`   // in the order asked for
}

// A Series is one signal of a Timeline. Min, Max and Mean have a value for each column, null where there is a gap: no sample
// for three times the usual interval. Between the samples of a slow signal the columns repeat its last mean.
type Series struct {
	Signal
	Min  Values `json:"min"`
	Max  Values `json:"max"`
	Mean Values `json:"mean"`
}

const maxColumns = 10_000

// Timeline returns signals over the window [from, to) since the recording's start, in at most px columns: as many as fit
// without being narrower than the overview's finest bucket. to at or before from is the end of the recording; signals are
// named as Signals lists them, or shorter where that is clear. Minima are never above and maxima never below those of the
// samples that begin in a column's buckets. ErrNotFound: no such signal; ErrAmbiguous: several.
func (s *Store) Timeline(ctx context.Context, job schemas.JobID, signals []string, from, to time.Duration, px int) (Timeline, error) {
	known, folds, err := s.signals(ctx, job)
	if err != nil {
		return Timeline{}, err
	}
	if to <= from {
		to = from + baseBucket
		for _, f := range folds {
			to = max(to, time.Duration(f.Last)+1)
		}
	}
	g := newGrid(from, to, px)
	line := Timeline{Job: job, FromS: from.Seconds(), ToS: to.Seconds(), ColumnS: g.width() / 1e9, BucketS: bucketWidth(g.level).Seconds(), Series: []Series{}}
	for i := range g.columns {
		line.T = append(line.T, (float64(from)+float64(i)*g.width())/1e9)
	}
	for _, ref := range signals {
		signal, err := find(known, ref)
		if err != nil {
			return Timeline{}, fmt.Errorf("timeline of job %s: %w", job, err)
		}
		series, err := s.series(ctx, signal, folds[signal.table()], g)
		if err != nil {
			return Timeline{}, fmt.Errorf("timeline of job %s, %s: %w", job, signal.Ref, err)
		}
		line.Series = append(line.Series, series)
	}
	return line, nil
}

// A grid is the columns of a timeline and the level that fills them.
type grid struct {
	from, to time.Duration
	columns  int
	level    int
}

func newGrid(from, to time.Duration, px int) grid {
	g := grid{from: from, to: to}
	g.columns = max(1, min(px, maxColumns, int((to-from)/baseBucket)))
	for g.level+1 < levels && float64(bucketWidth(g.level+1)) <= g.width() {
		g.level++
	}
	return g
}

// width of a column in nanoseconds.
func (g grid) width() float64 { return float64(g.to-g.from) / float64(g.columns) }

// column is where the middle of a bucket falls; outside of 0 to g.columns for one that is not in the window.
func (g grid) column(index int64) int {
	middle := (float64(index) + 0.5) * float64(bucketWidth(g.level))
	return int(math.Floor((middle - float64(g.from)) / g.width()))
}

func (s *Store) series(ctx context.Context, signal Signal, f *tableFold, g grid) (Series, error) {
	out := Series{Signal: signal, Min: gaps(g.columns), Max: gaps(g.columns), Mean: gaps(g.columns)}
	if f == nil {
		return out, nil
	}
	hold := 3 * f.interval()
	buckets, err := s.buckets(ctx, signal, f, g, hold)
	if err != nil {
		return out, err
	}
	sums := make([]bucket, g.columns)
	var last indexed
	for i, b := range buckets {
		column := g.column(b.index)
		if silence := time.Duration(b.index-last.index-1) * bucketWidth(g.level); i > 0 && silence <= hold {
			out.hold(g.column(last.index)+1, column, last.Sum/float64(last.Count))
		}
		if column >= 0 && column < g.columns {
			sums[column].merge(b.bucket)
		}
		last = b
	}
	for i, b := range sums {
		if b.Count > 0 {
			out.Min[i], out.Max[i], out.Mean[i] = b.Min, b.Max, b.Sum/float64(b.Count)
		}
	}
	return out, nil
}

// hold fills the columns between two samples of a slow signal.
func (s *Series) hold(from, to int, mean float64) {
	for i := max(0, from); i < min(to, len(s.Mean)); i++ {
		s.Min[i], s.Max[i], s.Mean[i] = mean, mean, mean
	}
}

type indexed struct {
	index int64
	bucket
}

// buckets are the filled buckets of a signal around the window: those in it, as far as hold before it, and behind it.
func (s *Store) buckets(ctx context.Context, signal Signal, f *tableFold, g grid, hold time.Duration) ([]indexed, error) {
	width := int64(bucketWidth(g.level))
	first, last := floorDiv(int64(g.from-hold), width)-1, floorDiv(int64(g.to+hold), width)+1
	const query = "SELECT chunk, data FROM chunks WHERE series = ? AND level = ? AND chunk BETWEEN ? AND ? ORDER BY chunk"
	rows, err := s.read.QueryContext(ctx, query, signal.id, g.level, floorDiv(first, chunkBuckets), floorDiv(last, chunkBuckets))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []indexed
	for rows.Next() {
		if out, err = appendChunk(out, rows, first, last); err != nil {
			return nil, err
		}
	}
	if i := slices.IndexFunc(f.Signals, func(o signalFold) bool { return o.Name == signal.Name }); i >= 0 {
		if index, b := f.open(i, g.level); b.Count > 0 && index >= first && index <= last {
			out = append(out, indexed{index, b})
		}
	}
	return out, rows.Err()
}

func appendChunk(out []indexed, rows *sql.Rows, first, last int64) ([]indexed, error) {
	var number int64
	var data []byte
	if err := rows.Scan(&number, &data); err != nil {
		return nil, err
	}
	c, err := decodeChunk(data)
	if err != nil {
		return nil, errors.Join(err, fmt.Errorf("chunk %d", number))
	}
	for i := range chunkBuckets {
		if index := number*chunkBuckets + int64(i); c.has(i) && index >= first && index <= last {
			out = append(out, indexed{index, c.bucket(i)})
		}
	}
	return out, nil
}
