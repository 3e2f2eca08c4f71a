package mdf

import (
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
