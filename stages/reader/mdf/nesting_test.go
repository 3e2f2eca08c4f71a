package mdf

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// textFile has n records of a byte, which is 0, as dt, with a conversion.
func textFile(n int, c cn, write func(b *builder) int64) *builder {
	b := newBuilder(0)
	c.conv = write(b)
	if c.typ == VLSD {
		c.data = b.append("SD", nil, []byte{1, 0, 0, 0, 'k'})
	}
	first := b.channels(c, cn{name: "x", dt: UintLE, bits: 8})
	g := b.groups(cg{cycles: uint64(n), data: 1, first: first[0]})
	b.dg(0, g[0], b.dz("DT", make([]byte, n), 1))
	return b
}

func TestTextsOfConversionsEndABlock(t *testing.T) {
	const n = 1000
	long := strings.Repeat("0123456789abcdef", 4<<10)
	number := cn{name: "c", dt: UintLE, bits: 8}
	for name, b := range map[string]*builder{
		"values":    textFile(n, number, func(b *builder) int64 { return b.conversion(ValueToText, "", []float64{0}, long) }),
		"ranges":    textFile(n, number, func(b *builder) int64 { return b.conversion(RangeToText, "", []float64{0, 1}, long) }),
		"bit field": textFile(n, number, func(b *builder) int64 { return b.conversion(BitfieldText, "", []float64{1}, long) }),
		"texts": textFile(n, cn{name: "c", typ: VLSD, dt: UTF8, bits: 8}, func(b *builder) int64 {
			return b.conversion(TextToText, "", nil, "k", long)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			f := mustOpen(t, &b.memory)
			g := f.Groups[0]
			seen := 0
			check := func(_ int, blk *Block) error {
				c := &blk.Columns[0]
				if len(c.Bytes) > maxColumnBytes+len(long) || len(blk.Columns[1].Values) != blk.N {
					t.Errorf("block of %d bytes, %d and %d values", len(c.Bytes), blk.N, len(blk.Columns[1].Values))
				}
				for i := range blk.N {
					if string(c.At(i)) != long {
						t.Fatalf("record %d is %d bytes", blk.First+uint64(i), len(c.At(i)))
					}
				}
				seen += blk.N
				return nil
			}
			r, err := g.Read(ReadOptions{}, g.Channels...)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			for {
				blk, err := r.Next(context.Background())
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil || blk.First != uint64(seen) {
					t.Fatalf("record %d after %d, %v", blk.First, seen, err)
				}
				if err := check(0, blk); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Scan(context.Background(), ScanOptions{Workers: 1}, check, Selection{g, g.Channels}); err != nil || seen != 2*n {
				t.Errorf("%d records, %v", seen, err)
			}
		})
	}
}

func TestConversionsToTextsLongerThanAllowedAreRefused(t *testing.T) {
	half := strings.Repeat("x", 600<<10)
	b := textFile(3, cn{name: "c", dt: UintLE, bits: 8}, func(b *builder) int64 {
		tx := b.append("TX", nil, append([]byte(half), 0))
		return b.conversion(BitfieldText, "", []float64{1, 2}, tx, tx)
	})
	for limit, refused := range map[int64]bool{1 << 20: true, 2 << 20: false} {
		f, err := Options{MaxBlockBytes: limit}.NewFile(&b.memory, int64(len(b.b)))
		if err != nil {
			t.Fatal(err)
		}
		g := f.Groups[0]
		if err := g.Channels[0].Err(); errors.Is(err, ErrLimit) != refused {
			t.Errorf("limit %d: %v", limit, err)
		}
		if got, err := readAll(g, ReadOptions{}); err != nil || len(got.values[len(got.values)-1]) != 3 {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// bitFields writes bit fields in bit fields, each with twice the next one.
func bitFields(b *builder, depth int) int64 {
	next := b.conversion(ValueToText, "", []float64{0}, "zero", "other")
	for range depth {
		next = b.conversion(BitfieldText, "", []float64{1, 2}, next, next)
	}
	return next
}

// refusal is why the file, or its first channel, cannot be read.
func refusal(b *builder) error {
	f, err := b.open()
	if err == nil {
		err = f.Groups[0].Channels[0].Err()
	}
	return err
}

func TestNestedBitFieldsAreBounded(t *testing.T) {
	for depth, refused := range map[int]bool{5: false, 11: false, 20: true} {
		b := textFile(1, cn{name: "c", dt: UintLE, bits: 8}, func(b *builder) int64 { return bitFields(b, depth) })
		var fe *FormatError
		err := refusal(b)
		if errors.As(err, &fe) != refused || refused && fe.Block != "##CC" {
			t.Errorf("%d deep: %v", depth, err)
			continue
		}
		if refused {
			continue
		}
		got, err := readAll(mustOpen(t, &b.memory).Groups[0], ReadOptions{})
		if want := strings.Repeat("|zero", 1<<depth)[1:]; err != nil || got.texts[0][0] != want {
			t.Errorf("%d deep: %q, %v", depth, got.texts[0], err)
		}
	}
}

// Each channel's conversion refers to that of the channel in front, so none is read more than one deep.
func TestConversionsAreBoundedInDepthHoweverTheyAreFound(t *testing.T) {
	b := newBuilder(0)
	var list []cn
	cc := b.conversion(ValueToText, "", []float64{0}, "zero", "other")
	for range 3 * maxDepth {
		cc = b.conversion(ValueToText, "", []float64{1}, "one", cc)
		list = append(list, cn{name: "c", dt: UintLE, bits: 8, conv: cc})
	}
	first := b.channels(list...)
	g := b.groups(cg{cycles: 1, data: 1, first: first[0]})
	b.dg(0, g[0], b.append("DT", nil, []byte{0}))
	f, err := b.open()
	if err == nil {
		for _, c := range f.Groups[0].Channels {
			err = errors.Join(err, c.Err())
		}
	}
	if err == nil || !strings.Contains(err.Error(), "deep") {
		t.Error(err)
	}
}

func TestConversionsThatTheReaderRefusesAreNotWritten(t *testing.T) {
	table := &Conversion{Type: ValueToText, Values: []float64{0}, Refs: []ConversionRef{{Text: "zero"}}}
	twice := func(depth int) *Conversion {
		c := table
		for range depth {
			c = &Conversion{Type: BitfieldText, Masks: []uint64{1, 2}, Refs: []ConversionRef{{Conversion: c}, {Conversion: c}}}
		}
		return c
	}
	cycle := &Conversion{Type: ValueToText, Values: []float64{0}, Refs: []ConversionRef{{Conversion: table}}}
	inner := &Conversion{Type: ValueToText, Values: []float64{0}, Refs: []ConversionRef{{Conversion: cycle}}}
	cycle.Refs[0].Conversion = inner
	for name, c := range map[string]struct {
		c  *Conversion
		ok bool
	}{"none": {nil, true}, "some": {twice(6), true}, "many": {twice(22), false}, "cycle": {cycle, false}} {
		if err := c.c.check(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
