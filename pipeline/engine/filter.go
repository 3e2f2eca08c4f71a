package engine

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/schemas"
)

// A filter says what a stage takes of what reaches it.
type filter struct {
	accepts []string
	when    *spec.Condition
}

// filter is the node's; of a group, its first member's.
func (n *node) filter() filter { return filter{n.info.Accepts, n.when} }

// takes says whether events of a type are accepted.
func (f filter) takes(eventType string) bool {
	return slices.Contains(f.accepts, pipeline.Any) || slices.Contains(f.accepts, eventType)
}

// wants says whether the stage takes a batch: its type is one that it accepts, and `when` holds. What is not wanted is an
// input all the same, counted and settled, of which the stage hears nothing.
func (f filter) wants(in *schemas.Event, b *pipeline.Batch) (bool, error) {
	if !f.takes(b.Type) {
		return false, nil
	}
	if f.when == nil {
		return true, nil
	}
	e := spec.Event{Type: b.Type, Source: in.Source(), Subject: b.Item, Recording: b.Item, Time: in.Time}
	if !f.when.NeedData {
		return f.match(e)
	}
	if len(b.Docs) == 0 {
		e.Data = columns(b)
		return f.match(e)
	}
	// A batch of several documents is wanted as far as its documents are.
	var wanted []pipeline.Doc
	for _, d := range b.Docs {
		if err := json.Unmarshal(d, &e.Data); err != nil {
			return false, pipeline.Permanent(fmt.Errorf("event %s: %w", in.ID(), err))
		}
		ok, err := f.match(e)
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

func (f filter) match(e spec.Event) (bool, error) {
	ok, err := f.when.Match(e)
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
