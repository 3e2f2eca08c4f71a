// Package ordeal has stages that make life hard for the engine: deterministic in what they emit, and with inputs that fail for
// good, fail at the first try, panic, hang, or kill their process.
//
// Whatever a stage emits depends on every input it has seen, through a running hash: an input that is lost, taken twice or
// taken in another order shows in all that comes behind it.
package ordeal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// Event types of this package.
const (
	Rows = "ordeal.rows.v1" // a table "rows" of n and v
	Row  = "ordeal.row.v1"  // a document Seen
)

// Harmless makes inputs that panic, hang or kill fail for good instead: what is computed without a transport goes on.
var Harmless = false

// start is when every made-up recording begins.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// ReaderConfig is the `with:` of reader/ordeal.
type ReaderConfig struct {
	Items    int           `yaml:"items" doc:"Number of recordings."`
	Batches  int           `yaml:"batches" doc:"Batches of each."`
	Rows     int           `yaml:"rows" doc:"Rows of a batch."`
	Slow     time.Duration `yaml:"slow" doc:"How long a read takes."`
	Flaky    int           `yaml:"flaky" doc:"Each so-manieth read fails once; 0 is none."`
	BadItem  int           `yaml:"bad_item" doc:"The recording, from 1, that cannot be read to its end; 0 is none."`
	BadBatch int           `yaml:"bad_batch" doc:"The batch of it that cannot be read."`
}

// ReaderType is reader/ordeal.
var ReaderType = pipeline.ReaderType[ReaderConfig]{
	Name: "reader/ordeal", Summary: "made-up recordings", Emits: []string{Rows}, Default: ReaderConfig{Items: 1, Batches: 10, Rows: 10},
	List: func(_ context.Context, c ReaderConfig) (items []pipeline.Item, err error) {
		for i := range c.Items {
			items = append(items, pipeline.Item{Name: fmt.Sprintf("drive%02d", i+1), Identity: fmt.Sprint(i + 1)})
		}
		return items, nil
	},
	Build: func(_ context.Context, c ReaderConfig) (pipeline.Open[pipeline.Reader], error) {
		return func(_ context.Context, it pipeline.Item) (pipeline.Reader, error) {
			r := &reader{c: c, item: it.Name, limit: uint64(c.Batches)}
			if it.Name == fmt.Sprintf("drive%02d", c.BadItem) {
				r.bad = uint64(c.BadBatch)
			}
			return r, nil
		}, nil
	},
}

type reader struct {
	c          ReaderConfig
	item       string
	limit, bad uint64
	at         uint64
}

// Read makes the next batch.
func (r *reader) Read(ctx context.Context) (pipeline.Batch, error) {
	if r.at == r.limit {
		return pipeline.Batch{}, io.EOF
	}
	if err := rest(ctx, r.c.Slow); err != nil {
		return pipeline.Batch{}, err
	}
	n := r.at + 1
	if n == r.bad {
		return pipeline.Batch{}, pipeline.Permanent(fmt.Errorf("batch %d of %s is damaged", n, r.item))
	}
	if fails(r.c.Flaky, n, r.item) {
		return pipeline.Batch{}, errors.New("not at the first try")
	}
	r.at = n
	t, ns, vs := make([]int64, r.c.Rows), make([]int64, r.c.Rows), make([]float64, r.c.Rows)
	seed := sha256.Sum256(fmt.Appendf(nil, "%s %d", r.item, n))
	x := binary.LittleEndian.Uint64(seed[:])
	for k := range t {
		t[k] = int64(n-1)*int64(time.Second) + int64(k)*int64(time.Second)/int64(r.c.Rows)
		ns[k] = int64(n)
		x = x*6364136223846793005 + 1442695040888963407
		vs[k] = float64(x>>11) / (1 << 53)
	}
	table, err := schemas.NewTable("rows", t, schemas.Column{Name: "n", Int64: ns}, schemas.Column{Name: "v", Unit: "m/s", Float64: vs})
	b := pipeline.Batch{Type: Rows, Tables: []pipeline.Table{table}}
	b.Slice = schemas.Slice{Start: start, From: time.Duration(n-1) * time.Second, To: time.Duration(n) * time.Second}
	return b, err
}

// Progress is the share that was read.
func (r *reader) Progress() float64 { return float64(r.at) / float64(r.limit) }

// Snapshot is the number of batches read.
func (r *reader) Snapshot(context.Context) ([]byte, error) {
	return binary.LittleEndian.AppendUint64(nil, r.at), nil
}

// Restore takes it back.
func (r *reader) Restore(_ context.Context, state []byte) error {
	r.at = binary.LittleEndian.Uint64(state)
	return nil
}

// Close has nothing to close.
func (r *reader) Close() error { return nil }

// StageConfig is the `with:` of process/ordeal.
type StageConfig struct {
	Slow   time.Duration `yaml:"slow" doc:"How long a step takes."`
	Bad    int           `yaml:"bad" doc:"Each so-manieth input fails for good; 0 is none."`
	Flaky  int           `yaml:"flaky" doc:"Each so-manieth input fails once; 0 is none."`
	Panic  int           `yaml:"panic" doc:"Each so-manieth input panics at every try; 0 is none."`
	Hang   string        `yaml:"hang" doc:"The input, as drive01/7, that hangs until its timeout at every try."`
	Kill   string        `yaml:"kill" doc:"The input that kills its process at every try."`
	Drop   int           `yaml:"drop" doc:"Each so-manieth input emits nothing; 0 is none."`
	Only   int           `yaml:"only" doc:"Only each so-manieth input emits anything; 0 is each."`
	Twice  int           `yaml:"twice" doc:"Each so-manieth input emits two documents; 0 is none."`
	Weight int           `yaml:"weight" doc:"Bytes that the state has besides."`
}

// StageType is process/ordeal.
var StageType = pipeline.ProcessorType[StageConfig]{
	Name: "process/ordeal", Summary: "a running hash of all inputs, and trouble", Accepts: []string{pipeline.Any}, Emits: []string{Row},
	Build: func(_ context.Context, c StageConfig) (pipeline.Open[pipeline.Processor], error) {
		return func(_ context.Context, it pipeline.Item) (pipeline.Processor, error) {
			return &stage{c: c, item: it.Name, s: state{Ballast: make([]byte, c.Weight)}}, nil
		}, nil
	},
	Fields: map[string][]string{Row: pipeline.FieldsOf[Seen]()},
}

// Seen is what a stage says of what it has seen so far.
type Seen struct {
	N     uint64 `json:"n"`    // inputs
	Last  string `json:"last"` // stage and sequence of the last of them
	Hash  string `json:"hash"` // over all of them
	Final bool   `json:"final,omitempty"`
}

type state struct {
	N       uint64
	Hash    [32]byte
	Ballast []byte
}

type stage struct {
	c    StageConfig
	item string
	s    state
}

// Process takes one input.
func (p *stage) Process(ctx context.Context, in pipeline.Batch, out pipeline.Emitter) error {
	if err := rest(ctx, p.c.Slow); err != nil {
		return err
	}
	p.see(in) // before anything goes wrong: a half step, which has to be forgotten
	what := fmt.Sprintf("%s/%d", in.Stage, in.Sequence)
	if err := p.trouble(ctx, in, what); err != nil {
		return err
	}
	if p.silent(in.Sequence) {
		return nil
	}
	if p.c.Twice > 0 && in.Sequence%uint64(p.c.Twice) == 0 {
		if err := pipeline.EmitDoc(ctx, out, Row, p.seen("first of "+what)); err != nil {
			return err
		}
	}
	return pipeline.EmitDoc(ctx, out, Row, p.seen(what))
}

func (p *stage) silent(n uint64) bool {
	return every(p.c.Drop, n) || p.c.Only > 0 && !every(p.c.Only, n)
}

func (p *stage) see(in pipeline.Batch) {
	h := sha256.New()
	h.Write(p.s.Hash[:])
	fmt.Fprintf(h, "%s %d %s", in.Stage, in.Sequence, in.Type)
	for _, d := range in.Docs {
		h.Write(d)
	}
	for _, t := range in.Tables {
		for _, v := range t.Float64("v") {
			_ = binary.Write(h, binary.LittleEndian, v) // to a hash
		}
	}
	copy(p.s.Hash[:], h.Sum(nil))
	p.s.N++
	if len(p.s.Ballast) > 0 {
		copy(p.s.Ballast[int(p.s.N*64)%max(1, len(p.s.Ballast)-32):], p.s.Hash[:])
	}
}

func (p *stage) trouble(ctx context.Context, in pipeline.Batch, what string) error {
	n, here := in.Sequence, fmt.Sprintf("%s/%d", p.item, in.Sequence)
	switch {
	case every(p.c.Bad, n):
		return pipeline.Permanent(fmt.Errorf("%s is bad", what))
	case Harmless && (every(p.c.Panic, n) || here == p.c.Hang || here == p.c.Kill):
		return pipeline.Permanent(errors.New("harmless here"))
	case every(p.c.Panic, n):
		panic(what + " makes this stage panic")
	case here == p.c.Hang:
		<-ctx.Done()
		return ctx.Err()
	case here == p.c.Kill:
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case fails(p.c.Flaky, n, p.item+what):
		return errors.New("not at the first try")
	}
	return nil
}

func (p *stage) seen(last string) Seen {
	return Seen{N: p.s.N, Last: last, Hash: hex.EncodeToString(p.s.Hash[:])}
}

// Finish says the last of it.
func (p *stage) Finish(ctx context.Context, out pipeline.Emitter) error {
	s := p.seen("end")
	s.Final = true
	return pipeline.EmitDoc(ctx, out, Row, s)
}

// Snapshot is the state.
func (p *stage) Snapshot(context.Context) ([]byte, error) { return json.Marshal(p.s) }

// Restore takes it back.
func (p *stage) Restore(_ context.Context, data []byte) error { return json.Unmarshal(data, &p.s) }

// Close has nothing to close.
func (p *stage) Close() error { return nil }

func every(k int, n uint64) bool { return k > 0 && n%uint64(k) == 0 }

// tries is the folder of a file for each input that failed once, beside the pipelines file: processes die so often that an input
// which failed once in each would be given up.
const tries = "tries"

func fails(k int, n uint64, what string) bool {
	if !every(k, n) {
		return false
	}
	name := filepath.Join(tries, url.PathEscape(fmt.Sprint(what, " ", n)))
	if err := os.Mkdir(tries, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return false
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil {
		err = f.Close()
	}
	return err == nil
}

// rest takes time.
func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 || Harmless {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
