package engine

import (
	"encoding/json"
	"fmt"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/transport"
)

// wants says whether the stage takes a batch: its type is one that it accepts, and `when` holds. What is not wanted is an
// input all the same, counted and settled, of which the stage hears nothing.
func (n *node) wants(in *transport.Stored, b *pipeline.Batch) (bool, error) {
	if !n.accepts(b.Type) {
		return false, nil
	}
	if n.when == nil {
		return true, nil
	}
	e := spec.Event{Type: b.Type, Source: in.Event.Source(), Subject: b.Item, Recording: b.Item, Time: in.Event.Time}
	if !n.when.NeedData {
		return n.match(e)
	}
	if len(b.Docs) == 0 {
		e.Data = columns(b)
		return n.match(e)
	}
	// A batch of several documents is wanted as far as its documents are.
	var wanted []pipeline.Doc
	for _, d := range b.Docs {
		if err := json.Unmarshal(d, &e.Data); err != nil {
			return false, pipeline.Permanent(fmt.Errorf("event %s: %w", in.Event.ID(), err))
		}
		ok, err := n.match(e)
		if err != nil {
			return false, err
		}
		if ok {
			wanted = append(wanted, d)
		}
	}
	b.Docs = wanted
	return len(wanted) > 0, nil
}

func (n *node) match(e spec.Event) (bool, error) {
	ok, err := n.when.Match(e)
	return ok, pipeline.Permanent(err)
}

// columns are the numeric columns of all tables by name; of a name in several tables, the first.
func columns(b *pipeline.Batch) map[string]any {
	all := map[string]any{}
	for _, t := range b.Tables {
		for _, name := range t.Signals() {
			if _, taken := all[name]; taken {
				continue
			}
			if v := t.Float64(name); v != nil {
				all[name] = v
			} else if v := t.Int64(name); v != nil {
				all[name] = v
			}
		}
	}
	return all
}
