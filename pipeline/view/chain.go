package view

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// A chain is what the store knows of one chain while its batches come: the state of its overview, and what the next commit
// will store.
type chain struct {
	id       schemas.ChainID
	sequence uint64 // of the last batch that was added
	folds    map[string]*tableFold
	series   map[seriesKey]int64 // ids, as far as known

	// Since the last commit:
	pipeline, item string
	span           span
	docs           []doc
	closed         map[chunkKey][]closed
	changed        map[string]bool // tables
}

type seriesKey struct{ table, signal string }

type chunkKey struct {
	seriesKey
	level int
	chunk int64
}

type doc struct {
	sequence  uint64
	row       int
	eventType string
	at        int64
	t         *int64
	text      string
}

// span is the stretch of the recording that its tables cover; start is nil before the first.
type span struct {
	start       *int64
	first, last int64
}

func loadChain(ctx context.Context, q querier, id schemas.ChainID) (*chain, error) {
	c := &chain{id: id, folds: map[string]*tableFold{}, series: map[seriesKey]int64{}}
	c.saved()
	_, sequence, err := storedCursor(ctx, q, id)
	if err != nil {
		return nil, err
	}
	c.sequence = uint64(sequence)
	rows, err := q.QueryContext(ctx, "SELECT name, state FROM folds WHERE job = ? AND stage = ?", string(id.Job), id.Stage)
	if err != nil {
		return nil, fmt.Errorf("overview of %s: %w", id, err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var state []byte
		if err := rows.Scan(&name, &state); err != nil {
			return nil, fmt.Errorf("overview of %s: %w", id, err)
		}
		if c.folds[name], err = decodeFold(state); err != nil {
			return nil, fmt.Errorf("overview of %s, table %s: %w", id, name, err)
		}
	}
	return c, rows.Err()
}

// saved forgets what a commit has stored.
func (c *chain) saved() {
	c.docs, c.span = nil, span{}
	c.closed, c.changed = map[chunkKey][]closed{}, map[string]bool{}
}

func (c *chain) add(b pipeline.Batch) {
	c.pipeline, c.item = b.Pipeline, b.Item
	if b.Sequence <= c.sequence {
		return
	}
	c.sequence = b.Sequence
	for row, d := range b.Docs {
		c.docs = append(c.docs, doc{sequence: b.Sequence, row: row, eventType: b.Type, at: nanos(b.Time()), t: timeOf(d), text: string(d)})
	}
	for _, t := range b.Tables {
		if _, faults := schemas.FaultsOf(t.Name); faults || t.Rows() == 0 {
			continue // analysis/signal-health says it better
		}
		c.addTable(t)
		c.span.add(b, t)
	}
}

func (c *chain) addTable(t pipeline.Table) {
	f := c.folds[t.Name]
	if f == nil {
		f = &tableFold{}
		c.folds[t.Name] = f
	}
	c.changed[t.Name] = true
	f.fold(t, func(b closed) {
		k := chunkKey{seriesKey{t.Name, b.signal}, b.level, floorDiv(b.index, chunkBuckets)}
		c.closed[k] = append(c.closed[k], b)
	})
}

func (s *span) add(b pipeline.Batch, t pipeline.Table) {
	times := t.Times()
	if first := times[0]; s.start == nil || first < s.first {
		s.first = first
	}
	if last := times[len(times)-1]; s.start == nil || last > s.last {
		s.last = last
	}
	start := nanos(b.Start)
	s.start = &start
}

// timeOf is the time that a document says itself, nanoseconds since the recording's start: its t_ns, else its t_start_ns.
func timeOf(d pipeline.Doc) *int64 {
	var says struct {
		T     *int64 `json:"t_ns"`
		Start *int64 `json:"t_start_ns"`
	}
	if json.Unmarshal(d, &says) != nil {
		return nil // no object, or another kind of t_ns
	}
	if says.T == nil {
		return says.Start
	}
	return says.T
}

// save stores what came since the last commit. A kill or an error leaves nothing of it: the transaction is the caller's.
func (c *chain) save(ctx context.Context, tx *sql.Tx) error {
	const recording = `INSERT INTO recordings VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (job) DO UPDATE SET start_ns = coalesce(excluded.start_ns, start_ns),
		first_ns = min(coalesce(first_ns, excluded.first_ns), coalesce(excluded.first_ns, first_ns)),
		last_ns = max(coalesce(last_ns, excluded.last_ns), coalesce(excluded.last_ns, last_ns))`
	var first, last any
	if c.span.start != nil {
		first, last = c.span.first, c.span.last
	}
	if _, err := tx.ExecContext(ctx, recording, string(c.id.Job), c.pipeline, c.item, c.span.start, first, last); err != nil {
		return err
	}
	for _, d := range c.docs {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO docs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			string(c.id.Job), c.id.Stage, int64(d.sequence), d.row, d.eventType, d.at, d.t, d.text)
		if err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.changed)) {
		if err := c.saveFold(ctx, tx, name); err != nil {
			return fmt.Errorf("overview of table %s: %w", name, err)
		}
	}
	return c.saveChunks(ctx, tx)
}

func (c *chain) saveChunks(ctx context.Context, tx *sql.Tx) error {
	load, err := tx.PrepareContext(ctx, "SELECT data FROM chunks WHERE series = ? AND level = ? AND chunk = ?")
	if err != nil {
		return err
	}
	defer load.Close()
	store, err := tx.PrepareContext(ctx, "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer store.Close()
	for k, buckets := range c.closed {
		series := c.series[k.seriesKey]
		stored, err := readChunk(load.QueryRowContext(ctx, series, k.level, k.chunk))
		if err != nil {
			return fmt.Errorf("overview of %s.%s: %w", k.table, k.signal, err)
		}
		for _, b := range buckets {
			stored.put(int(b.index-k.chunk*chunkBuckets), b.bucket)
		}
		if _, err = store.ExecContext(ctx, series, k.level, k.chunk, stored.encode()); err != nil {
			return fmt.Errorf("overview of %s.%s: %w", k.table, k.signal, err)
		}
	}
	return nil
}

func (c *chain) saveFold(ctx context.Context, tx *sql.Tx, name string) error {
	f := c.folds[name]
	for _, s := range f.Signals {
		if err := c.saveSeries(ctx, tx, seriesKey{name, s.Name}, s.Unit); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO folds VALUES (?, ?, ?, ?)", string(c.id.Job), c.id.Stage, name, f.encode())
	return err
}

func (c *chain) saveSeries(ctx context.Context, tx *sql.Tx, k seriesKey, unit string) error {
	if _, known := c.series[k]; known {
		return nil
	}
	const query = `INSERT INTO series (job, stage, name, signal, unit) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET unit = excluded.unit RETURNING id`
	var id int64
	if err := tx.QueryRowContext(ctx, query, string(c.id.Job), c.id.Stage, k.table, k.signal, unit).Scan(&id); err != nil {
		return err
	}
	c.series[k] = id // should the transaction fail, the chain is dropped with it
	return nil
}

// readChunk returns an empty chunk where there is none.
func readChunk(row *sql.Row) (*chunk, error) {
	var data []byte
	if err := row.Scan(&data); errors.Is(err, sql.ErrNoRows) {
		return &chunk{}, nil
	} else if err != nil {
		return nil, err
	}
	return decodeChunk(data)
}
