package pipeline

import (
	"context"
	"encoding/json"
	"time"

	"github.com/milepost-dev/milepost/schemas"
)

// Table is one time base of a batch; see schemas.Table.
type Table = schemas.Table

// Doc is one JSON document.
type Doc = json.RawMessage

// A Batch is what stages pass on: one time slice of one recording, a table per time base, or documents. A batch has tables
// or documents, never both. What a stage receives is read-only and valid until the call that got it returns.
type Batch struct {
	Type          string // event type, such as schemas.Signals; fixes the shape
	schemas.Slice        // what the batch covers; Emit fills an empty one from the input's
	Tables        []Table
	Docs          []Doc

	// Pace is when a reader wants the batch to leave, as replay time since the job's first batch; 0 is at once. The engine
	// waits, the reader never does. Only readers set it.
	Pace time.Duration

	// Set by the engine on what a stage receives, ignored by Emit.
	Job      schemas.JobID
	Pipeline string
	Item     string
	Stage    string // the stage that emitted it
	Sequence uint64
}

// Time is the recording time of the batch's first row: Start plus From.
func (b *Batch) Time() time.Time { return b.Start.Add(b.From) }

// Table returns the table of that name and whether the batch has it.
func (b *Batch) Table(name string) (Table, bool) {
	for _, t := range b.Tables {
		if t.Name == name {
			return t, true
		}
	}
	return Table{}, false
}

// Rows is the number of rows of all tables, or the number of documents.
func (b *Batch) Rows() int {
	n := len(b.Docs)
	for _, t := range b.Tables {
		n += t.Rows()
	}
	return n
}

// EmitDoc emits one document of a type, encoded as JSON, over the input's slice.
func EmitDoc(ctx context.Context, out Emitter, eventType string, doc any) error {
	data, err := json.Marshal(doc)
	if err != nil {
		return Permanent(err)
	}
	return out.Emit(ctx, Batch{Type: eventType, Docs: []Doc{data}})
}
