package arrowipc

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/milepost-dev/milepost/schemas"
)

type shape struct {
	name                  string
	tables, rows, signals int
}

// The two extremes that the design measured: many small tables of one second, and one wide table of half a megabyte.
var shapes = []shape{{"19 tables of 20 rows", 19, 20, 5}, {"19 tables of 300 rows", 19, 300, 5}, {"1 table of 30 columns", 1, 2184, 29}}

func (s shape) make(b *testing.B) []schemas.Table {
	var tables []schemas.Table
	for i := range s.tables {
		tables = append(tables, table(b, fmt.Sprintf("track%02d", i), s.rows, s.signals))
	}
	return tables
}

func BenchmarkEncode(b *testing.B) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			tables := s.make(b)
			b.SetBytes(int64(len(mustEncode(b, tables...))))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Encode(schemas.Signals, tables, slice(0, time.Second)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, s := range shapes {
		data := mustEncode(b, s.make(b)...)
		b.Run(s.name+"/ours", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Decode(data, contentOf(s.tables), s.tables); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(s.name+"/ipc.NewReader", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				readPlain(b, data)
			}
		})
	}
}

func readPlain(b *testing.B, data []byte) {
	in := bytes.NewReader(data)
	for in.Len() > 0 {
		r, err := ipc.NewReader(in)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Read(); err != nil {
			b.Fatal(err)
		}
		if _, err := r.Read(); err != io.EOF {
			b.Fatal(err)
		}
		r.Release()
	}
}
