package mdf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
	"time"
)

// benchFile has the columns of a measurement: 100 floats and 50 short integers with a linear conversion.
func benchFile(b *testing.B, c Compression, records int) *memory {
	b.Helper()
	m := &memory{b: make([]byte, 0, records*950)}
	w, err := NewWriter(m, WriterOptions{Compression: c, BlockBytes: 4 << 20})
	if err != nil {
		b.Fatal(err)
	}
	var spec GroupSpec
	for range 100 {
		spec.Channels = append(spec.Channels, ChannelSpec{Name: "f", DataType: FloatLE, Bits: 64})
	}
	for range 50 {
		spec.Channels = append(spec.Channels, ChannelSpec{Name: "i", DataType: IntLE, Bits: 16, Conversion: LinearConversion(1, 0.5)})
	}
	g, err := w.AddGroup(spec)
	if err != nil {
		b.Fatal(err)
	}
	times, values := make([]float64, records), make([]float64, records)
	for i := range times {
		times[i], values[i] = float64(i)*0.01, math.Round(1000*math.Sin(float64(i)*0.001))
	}
	cols := make([]Samples, 150)
	for i := range cols {
		cols[i].Float = values
	}
	if err := errors.Join(g.Append(times, cols...), w.Close()); err != nil {
		b.Fatal(err)
	}
	return m
}

func BenchmarkReadAllColumns(b *testing.B) {
	for c, name := range []string{"plain", "deflate", "transposed"} {
		b.Run(name, func(b *testing.B) {
			const records = 60000
			f, err := benchFile(b, Compression(c), records).open()
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(records * 908)
			for b.Loop() {
				readThrough(b, f.Groups[0], ReadOptions{})
			}
		})
	}
}

func BenchmarkReadAhead(b *testing.B) {
	for _, c := range []Compression{Deflate, TransposedDeflate} {
		b.Run(fmt.Sprint("compression ", c), func(b *testing.B) {
			const records = 60000
			f, err := benchFile(b, c, records).open()
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(records * 908)
			for b.Loop() {
				readThrough(b, f.Groups[0], ReadOptions{Ahead: 2})
			}
		})
	}
}

func readThrough(b *testing.B, g *ChannelGroup, opts ReadOptions) {
	r, err := g.Read(opts, g.Channels...)
	if err == nil {
		defer r.Close()
	}
	for err == nil {
		_, err = r.Next(context.Background())
	}
	if !errors.Is(err, io.EOF) {
		b.Fatal(err)
	}
}

func BenchmarkReadFrames(b *testing.B) {
	m := &memory{b: make([]byte, 0, 30<<20)}
	w, _ := NewWriter(m, WriterOptions{BlockBytes: 4 << 20})
	fw, err := w.AddFrames(FrameSpec{})
	if err != nil {
		b.Fatal(err)
	}
	const frames = 500000
	for i := range frames {
		fw.Append(Frame{Time: float64(i), Bus: 1, ID: uint32(i % 50), Data: []byte{1, 2, 3, 4, 5, 6, 7, byte(i)}})
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	f, err := m.open()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(frames * 27)
	for b.Loop() {
		r, err := f.Groups[0].Frames()
		for err == nil {
			_, err = r.Next(context.Background())
		}
		if !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen20000Channels opens a file whose channels each have a name, a comment and a conversion of their own.
func BenchmarkOpen20000Channels(b *testing.B) {
	m := &memory{}
	w, err := NewWriter(m, WriterOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for g := range 200 {
		var spec GroupSpec
		for c := range 99 {
			spec.Channels = append(spec.Channels, ChannelSpec{Name: fmt.Sprintf("channel_%d_%d", g, c), Unit: "m/s",
				Comment: fmt.Sprint("comment ", g, c), DataType: UintLE, Bits: 16, Conversion: LinearConversion(0, 0.1)})
		}
		if _, err := w.AddGroup(spec); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	best := time.Hour // what other programs of the machine take does not count
	for b.Loop() {
		from := time.Now()
		if _, err := m.open(); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(from))
	}
	b.ReportMetric(float64(best)/1e6, "ms-min")
}
