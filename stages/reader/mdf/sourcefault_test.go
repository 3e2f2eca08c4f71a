package mdf

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// faulty is a source of which one read fails, counted down by left.
type faulty struct {
	io.ReaderAt
	left int
	err  error
}

func (f *faulty) ReadAt(p []byte, off int64) (int, error) {
	if f.left--; f.left == 0 {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(p, off)
}

var errAway = errors.New("503 Slow Down")

// checkAway says that err is the source's, and nothing else.
func checkAway(t *testing.T, src *faulty, err error) {
	t.Helper()
	var damage *FormatError
	hidden := src.err != errAway
	if errors.As(err, &damage) || IsTruncated(err) || errors.Is(err, io.EOF) || errors.Is(err, ErrNotMDF) || !hidden && !errors.Is(err, errAway) {
		t.Fatalf("%v, damage %v, truncated %v", err, damage, IsTruncated(err))
	}
}

// readAgain reads a group of a source that fails once and goes on where it failed.
func readAgain(t *testing.T, src *faulty, g *ChannelGroup, opts ReadOptions) *table {
	t.Helper()
	chans := readable(g)
	got := &table{values: make([][]float64, len(chans)), texts: make([][]string, len(chans)), valid: make([][]bool, len(chans))}
	r, err := g.Read(opts, chans...)
	if err != nil {
		checkAway(t, src, err)
		if r, err = g.Read(opts, chans...); err != nil {
			t.Fatal(err)
		}
	}
	defer r.Close()
	for range 2 {
		if err = got.readFrom(r); err == nil {
			break
		}
		checkAway(t, src, err)
		if _, again := r.Next(t.Context()); again != err {
			t.Fatalf("the error is not repeated: %v", again)
		}
		if err := r.Seek(r.Progress().Records); err != nil {
			t.Fatal(err)
		}
	}
	if err != nil || len(r.Losses()) > 0 {
		t.Fatalf("%v, lost %+v", err, r.Losses())
	}
	return got
}

// Whichever read of whichever file fails: the error is that of the source, nothing is skipped for it, and all is read in the end.
func TestASourceThatFailsOnceLosesNothing(t *testing.T) {
	files := seedFiles(t)
	for i, blocks := range []int{3, 6} {
		files[fmt.Sprint("unlisted ", i)] = unlistedFile(unfinCycles|unfinDL|unfinDTLength, blocks, i*2, -1, true).b
	}
	equal := []cmp.Option{cmp.AllowUnexported(table{}), cmp.Transformer("bits", math.Float64bits), cmpopts.EquateEmpty()}
	for name, data := range files {
		t.Run(name, func(t *testing.T) {
			var want []*table
			whole := mustOpen(t, &memory{data})
			for _, g := range whole.Groups {
				one := &table{}
				if !g.VLSD {
					one = readAgain(t, &faulty{}, g, ReadOptions{BlockRecords: 2})
				}
				want = append(want, one)
			}
			for fail := 1; ; fail++ {
				reached := false
				for _, opts := range []ReadOptions{{BlockRecords: 2}, {BlockRecords: 2, SkipDamage: true}, {BlockRecords: 2, Ahead: 2, ColumnsOnly: true}} {
					src := &faulty{ReaderAt: &memory{data}, left: fail, err: errAway}
					if opts.SkipDamage { // whose cause is hidden, for it is not the end of the file
						src.err = fmt.Errorf("connection: %w", []error{io.EOF, io.ErrUnexpectedEOF}[fail%2])
					}
					f, err := Options{KeepReadable: opts.SkipDamage}.NewFile(src, int64(len(data)))
					if err != nil {
						checkAway(t, src, err)
						reached = true
						continue
					}
					for i, g := range f.Groups {
						if g.VLSD {
							continue
						}
						if diff := cmp.Diff(want[i], readAgain(t, src, g, opts), equal...); diff != "" {
							t.Fatalf("read %d, options %+v, group %d: %s", fail, opts, i, diff)
						}
					}
					reached = reached || src.left <= 0
				}
				if !reached {
					return
				}
			}
		})
	}
}

// Scan, Recount and Finalize fail with the source's error, and do all when they are called again.
func TestWholeFilesOfASourceThatFailsOnce(t *testing.T) {
	b, _ := unsortedFile(unfinCycles|unfinDTLength|unfinOffsets, 2, 30, true)
	for name, data := range map[string][]byte{"unsorted": b.b, "lists": inLists(unfinCycles|unfinDTLength|unfinDL, headerSize, 3, 2, 1, 4).b} {
		src := &faulty{ReaderAt: &memory{data}, err: errAway}
		f, err := NewFile(src, int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "copy.mf4")
		for what, do := range map[string]func() error{
			"recount":  func() error { return f.Recount(t.Context()) },
			"finalize": func() error { return f.Finalize(t.Context(), path, f.Start, nil) },
			"scan": func() error {
				return f.Scan(t.Context(), ScanOptions{}, func(int, *Block) error { return nil }, Selection{Group: f.Groups[0]})
			},
		} {
			failed := 0
			for fail := 1; ; fail++ {
				for _, g := range f.Groups {
					g.Cycles, g.CyclesKnown = 0, false
				}
				src.left = fail
				err := do()
				if src.left > 0 {
					break
				}
				if err == nil { // it was read again, or only to see whether there is more
					continue
				}
				failed++
				checkAway(t, src, err)
				if err := do(); err != nil {
					t.Fatalf("%s, %s again: %v", name, what, err)
				}
			}
			if failed == 0 {
				t.Errorf("%s, %s: nothing was read", name, what)
			}
		}
	}
}

func TestReadersOfAClosedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mf4")
	b := newBuilder(0)
	g := b.groups(cg{cycles: 100, data: 12, first: sampleChannels(b)})
	b.dg(0, g[0], b.split("DT", samples(100), 120))
	if err := os.WriteFile(path, b.b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Groups[0].Read(ReadOptions{SkipDamage: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var damage *FormatError
	if _, err := r.Next(t.Context()); !errors.Is(err, ErrClosed) || errors.As(err, &damage) || len(r.Losses()) > 0 {
		t.Errorf("next: %v, lost %+v", err, r.Losses())
	}
	if err := r.Close(); err != nil || r.block.Columns != nil || r.err != ErrClosed {
		t.Errorf("close: %v, %+v", err, r.err)
	}
	for what, err := range map[string]error{"seek": r.Seek(0), "resume": r.Resume(Position{}), "seek to a time": r.SeekTime(t.Context(), 1)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
