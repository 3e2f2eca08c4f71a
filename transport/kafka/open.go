package kafka

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// An opening is what Open finds on its way through the two topics.
type opening struct {
	chain      *chain
	checkpoint *transport.Checkpoint
	from       schemas.Position // of the data topic: the checkpoint covers it
	pages      map[transport.PageHash][]byte
	state      transport.State
	bytes      uint64 // data of all out events
}

// Open is transport.Log.Open. The state topic is read first: what is appended between the two readings is then behind the
// checkpoint, and a checkpoint that comes between makes the chain stale.
func (l *log) Open(ctx context.Context, id schemas.ChainID) (transport.Chain, transport.State, error) {
	if err := l.checkChain(ctx, id); err != nil {
		return nil, transport.State{}, err
	}
	w := l.partition(id.Job)
	o := &opening{chain: &chain{log: l, id: id, writer: w}, pages: map[transport.PageHash][]byte{}}
	limited, cancel := l.broker.limit(ctx)
	defer cancel()
	err := l.broker.scan(limited, l.topics[stateTopic], w.partition, o.takeState)
	if err == nil {
		err = l.broker.scan(limited, l.topics[dataTopic], w.partition, o.takeData)
	}
	if err == nil {
		err = o.finish()
	}
	if err != nil {
		if e := l.broker.check(ctx); e != nil {
			err = e
		}
		return nil, transport.State{}, fmt.Errorf("open %s: %w", id, err)
	}
	return o.chain, o.state, nil
}

func (o *opening) takeState(r *kgo.Record) error {
	if jobOf(r) != o.chain.id.Job {
		return nil
	}
	o.chain.ends[stateTopic] = position(r)
	s, err := o.chain.log.decode(r, o.chain.id.Job)
	if err != nil {
		return err
	}
	if s.Kind == transport.Page {
		p := transport.SplitPages(r.Value)
		if len(p) == 1 { // an empty page names nothing
			o.pages[p[0].Hash] = r.Value
		}
		return nil
	}
	from, err := strconv.ParseUint(header(r, headerBehind), 10, 64)
	o.checkpoint, o.from = s.Checkpoint, schemas.Position(from)
	return err
}

func (o *opening) takeData(r *kgo.Record) error {
	if jobOf(r) != o.chain.id.Job {
		return nil
	}
	o.chain.ends[dataTopic] = position(r)
	s, err := o.chain.log.decode(r, o.chain.id.Job)
	if err != nil {
		return err
	}
	if s.Kind == transport.Out {
		o.state.Out = s.Event.Sequence
		o.bytes += uint64(s.Bytes)
	}
	if s.Position > o.from {
		o.state.Behind = append(o.state.Behind, s)
	}
	return nil
}

// finish puts the snapshot together.
func (o *opening) finish() error {
	o.state.OutBytes, o.chain.out = o.bytes, o.state.Out
	if o.checkpoint == nil {
		return nil
	}
	c := *o.checkpoint
	for _, h := range c.Pages {
		data, ok := o.pages[h]
		if !ok {
			return fmt.Errorf("page %s of the checkpoint is not there", h)
		}
		c.Snapshot = append(c.Snapshot, data...)
	}
	o.state.Checkpoint = &c
	o.chain.pages.Reset(&c)
	return nil
}
