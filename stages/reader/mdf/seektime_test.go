package mdf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
)

// counting counts the bytes that are read.
type counting struct {
	r     io.ReaderAt
	bytes atomic.Int64
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.bytes.Add(int64(n))
	return n, err
}

// A reader that seeks neither reads nor inflates what lies in front of the time: it looks at as many places as the number of records
// has binary digits.
func TestSeekTimeReadsLittle(t *testing.T) {
	for _, c := range []Compression{Uncompressed, Deflate, TransposedDeflate} {
		t.Run(fmt.Sprint("compression ", c), func(t *testing.T) {
			m := &memory{}
			w, err := NewWriter(m, WriterOptions{Compression: c, BlockBytes: 32 << 10})
			if err != nil {
				t.Fatal(err)
			}
			g, err := w.AddGroup(GroupSpec{Channels: []ChannelSpec{{Name: "x", DataType: UintLE, Bits: 64}, {Name: "y", DataType: UintLE, Bits: 64}}})
			if err != nil {
				t.Fatal(err)
			}
			const n = 1 << 18
			times, x, y := make([]float64, n), make([]uint64, n), make([]uint64, n)
			for i := range times {
				times[i], x[i], y[i] = float64(i), uint64(i), uint64(i)*0x9e3779b97f4a7c15
			}
			if err := g.Append(times, Samples{Uint: x}, Samples{Uint: y}); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			src := &counting{r: m}
			f, err := NewFile(src, int64(len(m.b)))
			if err != nil {
				t.Fatal(err)
			}
			r, err := f.Groups[0].Read(ReadOptions{}, f.Groups[0].Channels[1])
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			opened := src.bytes.Load()
			if err := r.SeekTime(t.Context(), n*9/10); err != nil {
				t.Fatal(err)
			}
			b, err := r.Next(t.Context())
			if err != nil || b.Times[0] != n*9/10 && b.Times[0] != n*9/10+1 || b.Columns[0].Values[0] != b.Times[0] {
				t.Fatalf("%+v, %v", b, err)
			}
			if read := src.bytes.Load() - opened; read > int64(len(m.b)/10) {
				t.Errorf("%d of %d bytes are read", read, len(m.b))
			} else {
				t.Logf("%d of %d bytes are read", read, len(m.b))
			}
		})
	}
}

// cutFile says 100 records and ends in the middle of the one with that number.
func cutFile(record int) *memory {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 100, data: 12, first: sampleChannels(b)})
	const per = 25
	dl := b.append("DL", make([]int64, 1+100/per), binary.LittleEndian.AppendUint64([]byte{1, 0, 0, 0, 100 / per, 0, 0, 0}, 12*per))
	b.dg(0, g[0], dl)
	data, start := samples(100), int64(0)
	for i := range 100 / per {
		block := b.append("DT", nil, data[12*per*i:12*per*(i+1)])
		b.setLink(dl, 1+i, block)
		if i == record/per {
			start = block + headerSize + int64(record%per*12)
		}
	}
	b.b = b.b[:start+5]
	return &b.memory
}

// checkSeeks seeks in the first group and compares which record comes then.
func checkSeeks(t *testing.T, f *File, opts ReadOptions, want map[float64]uint64) {
	t.Helper()
	r, err := f.Groups[0].Read(opts, f.Groups[0].Channels...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for at, record := range want {
		if err := r.SeekTime(t.Context(), at); err != nil {
			t.Errorf("%v: %v", at, err)
			continue
		}
		b, err := r.Next(t.Context())
		if err != nil || b.First != record {
			t.Errorf("%v: %+v, %v; want record %d", at, b, err, record)
		}
	}
}

func TestSeekTimeInACutFile(t *testing.T) {
	f := mustOpen(t, cutFile(60))
	checkSeeks(t, f, ReadOptions{}, map[float64]uint64{0: 0, 2: 16, 7.3: 59})
	r, err := f.Groups[0].Read(ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.SeekTime(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if b, err := r.Next(t.Context()); !IsTruncated(err) { // that time may have been behind the cut
		t.Errorf("%+v, %v", b, err)
	}
}

func TestSeekTimeGoesPastDamage(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 100, data: 12, first: sampleChannels(b)})
	data := samples(100)
	var blocks []int64
	for i := range 4 {
		blocks = append(blocks, b.dz("DT", data[300*i:300*(i+1)], 0))
	}
	b.b[blocks[1]+dzHeader+int64(binary.LittleEndian.Uint64(b.b[blocks[1]+40:]))-1] ^= 1 // the check sum
	b.dg(0, g[0], b.dl(9, blocks...))
	f := mustOpen(t, &b.memory)
	checkSeeks(t, f, ReadOptions{}, map[float64]uint64{1: 8, 24.0 / 8: 24, 51.0 / 8: 51, 99.0 / 8: 99})
	checkSeeks(t, f, ReadOptions{SkipDamage: true}, map[float64]uint64{26.0 / 8: 50, 75.0 / 8: 75})
}

// refusing is a source that cannot be read behind a place while it is armed.
type refusing struct {
	io.ReaderAt
	behind int64
}

func (r *refusing) ReadAt(p []byte, off int64) (int, error) {
	if r.behind > 0 && off >= r.behind {
		return 0, errors.New("the server is away")
	}
	return r.ReaderAt.ReadAt(p, off)
}

func TestSeekTimeTakesASourceThatFailsForNoDamage(t *testing.T) {
	for _, zip := range []bool{false, true} {
		b := newBuilder(0)
		g := b.groups(cg{cycles: 100, data: 12, first: sampleChannels(b)})
		link := b.append("DT", nil)
		if b.end = link; zip {
			link = b.dz("DT", samples(100), 0)
		} else {
			link = b.append("DT", nil, samples(100))
		}
		b.dg(0, g[0], link)
		src := &refusing{ReaderAt: &b.memory}
		f, err := NewFile(src, int64(len(b.b)))
		if err != nil {
			t.Fatal(err)
		}
		r, err := f.Groups[0].Read(ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		src.behind = link + headerSize
		if zip {
			src.behind += headerSize
		}
		var failed *readError
		if err := r.SeekTime(t.Context(), 5); !errors.As(err, &failed) {
			t.Errorf("compressed %v: %v", zip, err)
		}
	}
}

func TestSeekTimeInColumnsThatSayNoCount(t *testing.T) {
	b := columnFile(30)
	copy(b.b, "UnFinMF ")
	b.b[60] = unfinCycles
	checkSeeks(t, mustOpen(t, &b.memory), ReadOptions{}, map[float64]uint64{1: 8, 2.5: 20, 3.6: 29})
}
