package transport

import (
	"context"
	"io"
	"time"

	"github.com/milepost-dev/milepost/schemas"
)

// JobStage is the stage name of the chains in a jobs log.
const JobStage = "job"

// A Broker holds logs. Its methods may be called concurrently.
type Broker interface {
	// Log creates the log or widens an existing one to the configuration (it never makes one narrower); doing so again is
	// harmless.
	Log(ctx context.Context, c LogConfig) (Log, error)
	// Describe says what the broker is, for users: kind, address, version.
	Describe() Description
	io.Closer
}

// A Description is a broker for users' eyes, and the one number of it that others have to reckon with.
type Description struct {
	Kind, Address, Version string
	MaxEvent               int // bytes of data that an event may have for sure; ErrTooLarge somewhere above it
}

// A LogConfig describes one log: what one stage writes for all jobs, or the jobs of a pipeline.
type LogConfig struct {
	Pipeline string // [a-z0-9-]
	Stage    string // node name; JobStage for the jobs log
	MaxBytes int64  // the log is full beyond it (appends fail with ErrFull, out events first); 0 is the driver's default
	Reserve  int64  // of MaxBytes, kept for checkpoints, dead letters and controls
	Replicas int    // copies on a cluster; 0 is one
	Parts    int    // partitions, where the broker has them; 0 is the driver's default
	Ahead    bool   // out events may be stored a little later than Append returns: see Chain.Append
}

// A Log is one stage's chains. Its methods may be called concurrently.
type Log interface {
	// Open takes the chain for writing and says what it holds. Whoever held it before gets ErrStale at his next append,
	// once the new holder has appended; two openers that append nothing do not disturb each other.
	Open(ctx context.Context, id schemas.ChainID) (Chain, State, error)
	// Read reads the chain's out events with a position above from, which is 0 or that of one of them, in order, and waits
	// for more at the end. It does not need the chain to exist yet.
	Read(ctx context.Context, id schemas.ChainID, from schemas.Position) (EventReader, error)
	// Watch reads records of many chains in log order: projections, wakes, lag.
	Watch(ctx context.Context, c WatchConfig) (Watcher, error)
	// Subscribe makes or joins the durable consumer of that name over the log's out events.
	Subscribe(ctx context.Context, s Subscription) (Consumer, error)
	// Commit appends a checkpoint to each chain. On a broker with transactions all of them hold or none; otherwise each is
	// an append of its own, and the error is that of the first that failed. Chains are of this log.
	Commit(ctx context.Context, checkpoints map[Chain]Checkpoint) error
	// Trim removes the chain's out events at and below a position, and checkpoints and pages that its last checkpoint does
	// not need; of a chain that is over (Stored.Over) all of them, since nobody goes on from there. It never removes the last
	// record under the chain's prefix, nor a dead letter or control record, nor a page behind the last checkpoint of a chain
	// that is not over: the next one may be about to name it. It looks at nothing else: that the position lies below what
	// consumers and the chain's own checkpoint need is the caller's care. It does not disturb the chain's holder.
	Trim(ctx context.Context, id schemas.ChainID, below schemas.Position) error
	// Purge removes the chain's dead letters at these positions. It never removes the last record under the chain's prefix,
	// nor any other kind; a position where no dead letter is, any more, is passed over. That the chain's job is over is the
	// caller's care. n is how many were removed.
	Purge(ctx context.Context, id schemas.ChainID, letters []schemas.Position) (n int, err error)
	// Stats is the log's size now.
	Stats(ctx context.Context) (Stats, error)
}

// A Chain is the writing end of one chain. One goroutine uses it. After any error but ErrFull and ErrTooLarge it is of no
// more use: open again and look.
type Chain interface {
	ID() schemas.ChainID
	// Append stores records in order, each behind the one before. ErrStale: another wrote, nothing was stored by this call
	// from that record on. ErrUnknown: the outcome of one append is not known. ErrFull: the log has no room for the first
	// record that was not stored; n says how many were. A record that breaks the rules of its kind (Record.Check, an event
	// of another chain, an out event whose sequence is not the next) is refused before any is stored.
	//
	// In a log made with Ahead, a driver may return before out events without Cursor or Sync, and pages, are stored, where storing
	// many at once is what it is fast at. They are stored soon, in order, and before any other Append or Commit of the chain
	// returns; or none from one of them on ever is, and the next Append or Commit says ErrStale or ErrUnknown.
	Append(ctx context.Context, records ...Record) (n int, err error)
}

// Kind is what a record is.
type Kind uint8

// The kinds of records, each a subject of its own under the chain's prefix.
const (
	Out        Kind = iota // an event that consumers read; sequence from 1 without a gap
	DeadLetter             // schemas.DeadLetter, with the cursor that the decision leaves
	Control                // schemas.Control, with the cursor it was made at
	Page                   // a page of a snapshot, or the body of a dataref, named by its content hash
	Snapshot               // a Checkpoint; written by Log.Commit only
)

// String is the kind's subject token: out, dlq, ctl, page, ckpt.
func (k Kind) String() string { return [...]string{"out", "dlq", "ctl", "page", "ckpt"}[k] }

// A Record is one append. Dead letters and controls have a cursor; out events only where the stage is not deterministic,
// so that its last one is its checkpoint (design: settlement, rule 8).
type Record struct {
	Kind   Kind
	Cursor *schemas.Cursor
	Event  schemas.Event
	Page   *PageData // of kind Page; the event is ignored
	Sync   bool      // of an out event: Append returns when it is stored, in a log made with Ahead too
}

// PageHash names a page by its content, SHA-256.
type PageHash [32]byte

// PageData is a page to be stored.
type PageData struct {
	Hash PageHash
	Data []byte
}

// A Checkpoint is the durable record of a stage's state between two inputs. It may name pages that the chain's checkpoint
// before it names, and pages that this Chain appended since that one; Commit refuses any other, since Trim may remove it.
type Checkpoint struct {
	Cursor    schemas.Cursor // the inputs that the state has seen
	Out       uint64         // sequence of the last out event before it
	OutBytes  uint64         // data bytes of out events 1..Out, for back-pressure after a restart
	Snapshot  []byte         // the state, or
	Pages     []PageHash     // the pages that make it, in order; they were appended before
	InputHash []byte         // running hash of the inputs' content hashes, as schemas.End reports it at the end
	Inputs    uint64         // number of inputs the state has seen
	Progress  float64        // of a reader: share of its item that it has read, 0 to 1; informative, for those who look from elsewhere
}

// State is what a chain held when it was opened.
type State struct {
	Out        uint64      // sequence of the last out event, 0 none
	OutBytes   uint64      // data bytes of all out events ever appended; estimated where older ones were trimmed
	Checkpoint *Checkpoint // the last one, with Snapshot filled from its pages; nil: none yet, or the chain is over and was trimmed
	Behind     []Stored    // the records behind it in order (all records where there never was one), pages left out
}

// A Stored is a record read back.
type Stored struct {
	Chain    schemas.ChainID
	Kind     Kind
	Position schemas.Position
	Cursor   *schemas.Cursor
	Event    schemas.Event // data is empty where only headers were asked for; of a Snapshot, only Chain and Pipeline are set
	Bytes    int           // size of the data
	At       time.Time     // when the broker stored it

	Checkpoint *Checkpoint // of kind Snapshot; its Snapshot is left out where pages hold it or only headers were asked for
}

// An EventReader reads one chain's out events in order of position. One goroutine uses it.
type EventReader interface {
	// Next waits for the next event. The event's data stays valid. It returns ctx's error, or ErrGone when the position
	// to go on at was removed, or ErrLost when no out event of the chain can have been at the position it was to start behind.
	Next(ctx context.Context) (Stored, error)
	// Ready says whether Next would return without waiting for the broker.
	Ready() bool
	io.Closer
}

// A WatchConfig chooses what a Watcher sees.
type WatchConfig struct {
	Kinds   []Kind           // Out, DeadLetter, Control, Snapshot; several are merged in log order
	Chain   *schemas.ChainID // only this chain; nil is all
	Headers bool             // events come without data
	Newest  bool             // start with the newest record of each chain and kind, then all that follow
	From    schemas.Position // start behind it; ignored with Newest
	Drain   bool             // io.EOF at the end of what was stored when Watch was called, instead of waiting
}

// A Watcher reads records of many chains. One goroutine uses it. It outlives everything that passes: a server that is started
// again, a connection that is lost. Next returns ErrLost when the record that was handed out last is not there any more though
// nobody removed it: what the log is and what was handed out have nothing in common from some record on, so begin again.
type Watcher interface {
	Next(ctx context.Context) (Stored, error)
	io.Closer
}

// A Subscription names a durable consumer over a log's out events.
type Subscription struct {
	Durable    string        // [a-z0-9-], unique in the log
	AckWait    time.Duration // a delivery neither acked nor kept in progress for so long goes to another worker
	MaxPending int           // deliveries out at once over all workers; 0 is the driver's default

	// Newest: a durable that is new begins with the newest out event that each chain has then, and is handed all that come later;
	// else it begins with the first. Of one that is known it changes nothing. All who share a durable say the same.
	Newest bool
}

// A Consumer shares the log's out events among all processes that subscribed under its name; each event goes to one, again
// until one acks it. One goroutine calls Next; deliveries may be settled on any.
type Consumer interface {
	Next(ctx context.Context) (Delivery, error)
	io.Closer
}

// A Delivery is an out event handed out. Ack, Nak and InProgress are hints: each may be forgotten by the broker, and the
// event come again to anybody.
type Delivery interface {
	Event() Stored
	Ack(ctx context.Context) error
	Nak(ctx context.Context, delay time.Duration) error // hand it out again after a delay
	InProgress(ctx context.Context) error               // start AckWait anew
}

// Stats is a log's size.
type Stats struct {
	Records, Bytes, MaxBytes uint64
	Consumers                int
}
