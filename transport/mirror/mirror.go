// Package mirror copies the chains of logs from one broker to another.
//
// Ids, sequences, times and data stay what they are; positions, which are places in a broker's log, are rebuilt from the sequences:
// those in cursors, and those by which a resume names a dead letter. Nobody may work on the logs meanwhile.
//
// A chain is copied in an order that a kill at any record leaves resumable: out events up to the last checkpoint, decisions before it,
// the checkpoint, what lies behind it. What the destination holds is a beginning of that, so counting it says where to go on; and
// a copy that is done again after the source has moved on adds what is new. Older checkpoints and pages that none names are
// left behind, as trimming would.
package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// Settings are what is copied and where to.
type Settings struct {
	From, To transport.Broker
	Logs     []transport.LogConfig          // jobs and stages of each pipeline, inputs before who reads them
	Done     func(transport.LogConfig, Sum) // called after each log; nil is nobody
}

// A Sum is how much was copied.
type Sum struct {
	Chains  int    `json:"chains"`
	Records int    `json:"records"` // without pages
	Bytes   uint64 `json:"bytes"`
	Present int    `json:"present"` // records that were there already
}

func (s *Sum) add(t Sum) {
	s.Chains, s.Records, s.Bytes, s.Present = s.Chains+t.Chains, s.Records+t.Records, s.Bytes+t.Bytes, s.Present+t.Present
}

// ErrElsewhere says that the destination's chain is not a beginning of the source's: somebody has worked there.
var ErrElsewhere = errors.New("the destination has records that the source has not: somebody has worked there")

// Copy copies. Doing so again after an error or a kill goes on where it was.
func Copy(ctx context.Context, s Settings) (Sum, error) {
	m := &mirror{Settings: s, upstream: map[schemas.JobID]schemas.JobID{}, places: map[key]map[uint64]schemas.Position{}, letters: map[key]map[schemas.Position]schemas.Position{}}
	if err := m.readJobs(ctx); err != nil {
		return Sum{}, err
	}
	var all Sum
	for _, jobs := range []bool{false, true} { // a job's events name dead letters by place
		for _, c := range s.Logs {
			if (c.Stage == transport.JobStage) != jobs {
				continue
			}
			sum, err := m.log(ctx, c)
			all.add(sum)
			if err != nil {
				return all, fmt.Errorf("mirror %s/%s: %w", c.Pipeline, c.Stage, err)
			}
			if s.Done != nil {
				s.Done(c, sum)
			}
		}
	}
	return all, nil
}

// key names a chain.
type key struct {
	pipeline string
	id       schemas.ChainID
}

// A mirror is one call of Copy.
type mirror struct {
	Settings
	upstream map[schemas.JobID]schemas.JobID
	places   map[key]map[uint64]schemas.Position           // of out events at the destination, by sequence; filled as asked
	letters  map[key]map[schemas.Position]schemas.Position // of dead letters: from source to destination
}

// readJobs learns which job reads which other one's events.
func (m *mirror) readJobs(ctx context.Context) error {
	for _, c := range m.Logs {
		if c.Stage != transport.JobStage {
			continue
		}
		log, err := m.From.Log(ctx, c)
		if err != nil {
			return err
		}
		err = drain(ctx, log, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}}, func(s *transport.Stored) error {
			var e schemas.JobEvent
			if err := json.Unmarshal(s.Event.Data, &e); err != nil {
				return fmt.Errorf("event %s: %w", s.Event.ID(), err)
			}
			if e.Upstream != "" {
				m.upstream[s.Chain.Job] = e.Upstream
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// drain hands on what a log holds now.
func drain(ctx context.Context, log transport.Log, c transport.WatchConfig, f func(*transport.Stored) error) error {
	c.Drain = true
	return transport.Each(ctx, log, c, f)
}

var everyKind = []transport.Kind{transport.Out, transport.DeadLetter, transport.Control, transport.Snapshot}

// log copies one, chain after chain in the order in which the source began them.
func (m *mirror) log(ctx context.Context, c transport.LogConfig) (sum Sum, err error) {
	from, err := m.From.Log(ctx, c)
	if err != nil {
		return sum, err
	}
	to, err := m.To.Log(ctx, c)
	if err != nil {
		return sum, err
	}
	var chains []schemas.ChainID
	known := map[schemas.ChainID]bool{}
	err = drain(ctx, from, transport.WatchConfig{Kinds: everyKind, Headers: true, Newest: c.Stage != transport.JobStage}, func(s *transport.Stored) error {
		if !known[s.Chain] {
			known[s.Chain] = true
			chains = append(chains, s.Chain)
		}
		return nil
	})
	for _, id := range chains {
		if err != nil {
			break
		}
		x := &copying{m: m, pipeline: c.Pipeline, id: id, from: from, to: to}
		if err = x.run(ctx); err != nil {
			err = fmt.Errorf("chain %s: %w", id, err)
		}
		sum.add(x.sum)
	}
	return sum, err
}

// cursor is one with the positions of the destination.
func (m *mirror) cursor(ctx context.Context, pipeline string, job schemas.JobID, c schemas.Cursor) (schemas.Cursor, error) {
	c = c.Clone()
	for k := range c.Edges {
		e := &c.Edges[k]
		e.Position = 0
		if e.Sequence == 0 {
			continue
		}
		log, of, found := m.input(pipeline, job, e.Stage)
		if !found {
			continue // a stage that the file has no more
		}
		at, err := m.place(ctx, log, of, e.Sequence)
		if err != nil {
			return c, err
		}
		e.Position = at
	}
	return c, nil
}

// input is the log and the job that a stage's input of that name comes from: the same pipeline's, or that of the job it derives from.
func (m *mirror) input(pipeline string, job schemas.JobID, stage string) (transport.LogConfig, schemas.JobID, bool) {
	for _, c := range m.Logs {
		if c.Stage == stage && c.Pipeline == pipeline {
			return c, job, true
		}
	}
	up, derived := m.upstream[job]
	for _, c := range m.Logs {
		if derived && c.Stage == stage && c.Pipeline != pipeline {
			return c, up, true
		}
	}
	return transport.LogConfig{}, "", false
}

// place is where an event lies at the destination; 0 where it was trimmed, behind which one reads on from the start.
func (m *mirror) place(ctx context.Context, c transport.LogConfig, job schemas.JobID, sequence uint64) (schemas.Position, error) {
	k := key{c.Pipeline, schemas.ChainID{Job: job, Stage: c.Stage}}
	if m.places[k] == nil {
		log, err := m.To.Log(ctx, c)
		if err != nil {
			return 0, err
		}
		at := map[uint64]schemas.Position{}
		err = drain(ctx, log, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Chain: &k.id, Headers: true}, func(s *transport.Stored) error {
			at[s.Event.Sequence] = s.Position
			return nil
		})
		if err != nil {
			return 0, err
		}
		if len(m.places) >= 16 { // of joins: a few at a time are asked about
			clear(m.places)
		}
		m.places[k] = at
	}
	return m.places[k][sequence], nil
}
