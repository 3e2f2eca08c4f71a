package pipeline

import (
	"context"
	"encoding/json"
	"io"

	"github.com/milepost-dev/milepost/schemas"
)

// An Item is one unit of input that a source lists: a recording, a video, a JSON document, a URL.
type Item struct {
	Name     string                     `json:"name"`             // unique among a source's items; the events' subject
	URL      string                     `json:"url"`              // where the content is: a file path, or a URL with a scheme
	Identity string                     `json:"identity"`         // of the content: the same content, the same identity
	Bytes    int64                      `json:"bytes,omitempty"`  // size of the content, for progress; 0 unknown
	Labels   map[string]string          `json:"labels,omitempty"` // what users filter by
	Params   map[string]json.RawMessage `json:"params,omitempty"` // reach every stage's Open; a stage takes the keys it knows
}

// A Reader yields one recording as batches, in order. One goroutine uses it.
type Reader interface {
	// Read returns the next batch, and after the last io.EOF: the value itself, as io.Reader does. An error that wraps
	// io.EOF is a failure. The batch is valid until the next Read.
	// The boundaries of batches depend on the rows and the configuration alone.
	Read(ctx context.Context) (Batch, error)
	Snapshotter // taken between two Reads: the place of the next
	io.Closer
}

// A Progresser is a Reader that can say which share of its item it has read, 0 to 1. It is asked between two Reads.
type Progresser interface{ Progress() float64 }

// A Processor handles the batches of one recording, in order, on one goroutine, each once since the restored state.
// The same state and batch must emit the same batches: no clock, no randomness, no map order.
type Processor interface {
	Process(ctx context.Context, in Batch, out Emitter) error
	Finish(ctx context.Context, out Emitter) error // after the recording's last batch
	Snapshotter
	io.Closer // also when it is given up for a retry or a move
}

// A Snapshotter gives its state as bytes and takes it back. Restore is called at most once, on a fresh instance, before
// anything else; nil state is that of a fresh instance. The same history gives the same bytes.
type Snapshotter interface {
	Snapshot(ctx context.Context) ([]byte, error)
	Restore(ctx context.Context, state []byte) error
}

// An Emitter takes the outputs of one step. They are held until Process (or Finish) returns nil and dropped if it errs;
// Emit encodes before it returns, so the caller may reuse what it gave.
type Emitter interface {
	Emit(ctx context.Context, b Batch) error
}

// EmitterFunc makes an Emitter of a function.
type EmitterFunc func(ctx context.Context, b Batch) error

// Emit calls f.
func (f EmitterFunc) Emit(ctx context.Context, b Batch) error { return f(ctx, b) }

// An Origin says whose the events of a chain are: the job and the stage that emitted them, and what they are of. Jobs are
// versions of each other when they have pipeline and item in common, and so are their chains of one stage: a version of a
// result each.
type Origin struct {
	schemas.ChainID
	Pipeline string `json:"pipeline"` // of the stage
	Item     string `json:"item"`

	After []schemas.JobID `json:"-"` // to Commit: older versions, as far as they are known; they may have stored nothing yet
}

// A Sink stores the events of chains in a store of its own, which is also its checkpoint. Calls for one chain come from one
// goroutine; calls for different chains come concurrently. A chain is named by the job and the stage that emitted it.
//
// A store has one version of a result. Of two versions the newer one is that which names the other
// in After, or else that whose first Commit came later. As soon as a version
// is whole (its Commit to a cursor that has Ended), it alone is there, and all older ones are gone, though it be of nothing at
// all; until then an older one that is whole stays. An older one that is committed to later moves its cursor and stores nothing.
// Only a store whose readers tell jobs apart keeps all versions, and answers Replaced with false.
type Sink interface {
	// Cursor is how far the chain was stored; the zero Cursor when it was not. It says so of a version that was replaced, too.
	Cursor(ctx context.Context, id schemas.ChainID) (schemas.Cursor, error)
	// Replaced says whether what was stored of a chain is gone, or will not be taken, since a newer version is whole.
	Replaced(ctx context.Context, of Origin) (bool, error)
	// Write takes one batch of the chain; rows are keyed by (job, stage, sequence, row), so that a batch written again
	// replaces itself. Nothing needs to be durable before Commit. After an error the engine calls Cursor and goes on there.
	Write(ctx context.Context, b Batch) error
	// Commit makes everything written since the last Commit durable together with the cursor, and with what it replaces. It
	// returns ErrStale, and stores nothing, unless from is what is stored. A chain may be committed without any Write.
	Commit(ctx context.Context, of Origin, from, to schemas.Cursor) error
	io.Closer
}

// A FleetSink is a Sink that also stores fleet results, replaced under the run's name each time.
type FleetSink interface {
	Sink
	WriteFleet(ctx context.Context, run string, doc Batch) error
}

// A RestoringSink is a Sink whose results a user can take away while its cursor stays: files that are removed, or that another
// version of the job has written since.
type RestoringSink interface {
	Sink
	// Restore makes the results of a finished chain be there as when it was stored, and says how many it had to put back. A
	// version that was replaced is the newest one then. batches are all documents that the chain holds, in order, as they were
	// written; it is never called for a chain that is being written.
	Restore(ctx context.Context, of Origin, batches []Batch) (restored int, err error)
}

// A Result is the documents of one type that one job's chain holds, for a Fold.
type Result struct {
	Item Item
	Docs []Doc
}

// A Fold makes the fleet result of a run from the per-job results, in order of item name. It is a pure function: called
// again with all results whenever one changes.
type Fold func(results []Result) (Doc, error)

// Stateless is embedded by processors with nothing to keep; it supplies all but Process.
type Stateless struct{}

// Finish does nothing.
func (Stateless) Finish(context.Context, Emitter) error { return nil }

// Snapshot returns no state.
func (Stateless) Snapshot(context.Context) ([]byte, error) { return nil, nil }

// Restore does nothing.
func (Stateless) Restore(context.Context, []byte) error { return nil }

// Close does nothing.
func (Stateless) Close() error { return nil }

// Open makes the Reader or Processor of one item. It is called on the goroutine that will use what it returns.
type Open[T any] func(ctx context.Context, it Item) (T, error)
