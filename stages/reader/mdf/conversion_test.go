package mdf

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// conversionBlock writes a CC; refs that are strings become TX blocks, integers stand as links.
func (b *builder) conversion(t ConversionType, name string, values []float64, refs ...any) int64 {
	le := binary.LittleEndian
	links := []int64{b.text(name), 0, 0, 0}
	for _, r := range refs {
		switch r := r.(type) {
		case string:
			links = append(links, b.append("TX", nil, append([]byte(r), 0)))
		case int64:
			links = append(links, r)
		}
	}
	d := make([]byte, 24)
	d[0] = uint8(t)
	le.PutUint16(d[4:], uint16(len(refs)))
	le.PutUint16(d[6:], uint16(len(values)))
	for _, v := range values {
		u := math.Float64bits(v)
		if t == BitfieldText {
			u = uint64(v)
		}
		d = le.AppendUint64(d, u)
	}
	return b.append("CC", links, d)
}

// convert reads raw values through the conversion that write makes.
func convert(t *testing.T, dt DataType, raw []float64, write func(b *builder) int64) *table {
	t.Helper()
	b := newBuilder(0)
	first := b.channels(cn{name: "x", dt: dt, bits: 64, conv: write(b)})
	var data []byte
	for _, x := range raw {
		u := math.Float64bits(x)
		if dt == IntLE {
			u = uint64(int64(x))
		}
		data = binary.LittleEndian.AppendUint64(data, u)
	}
	g := b.groups(cg{cycles: uint64(len(raw)), data: 8, first: first[0]})
	b.dg(0, g[0], b.append("DT", nil, data))
	got, err := readAll(mustOpen(t, &b.memory).Groups[0], ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestNumericConversions(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name   string
		dt     DataType
		typ    ConversionType
		values []float64
		raw    []float64
		want   []float64
	}{
		{"identity", FloatLE, Identity, nil, []float64{1, 2}, []float64{1, 2}},
		{"linear rounds twice", FloatLE, Linear, []float64{0.1, 0.1}, []float64{3, 7}, []float64{0.1*3 + 0.1, 0.8}},
		{"rational", IntLE, Rational, []float64{1, 2, 3, 0, 0, 2}, []float64{0, 2}, []float64{1.5, 5.5}},
		{"interpolated", FloatLE, TableInterpolated, []float64{0, 10, 10, 20, 20, 0}, []float64{-5, 0, 5, 10, 15, 20, 99, nan},
			[]float64{10, 10, 15, 20, 10, 0, 0, nan}},
		{"nearest, lower in the middle", FloatLE, TableNearest, []float64{0, 1, 10, 2, 20, 3}, []float64{-9, 4, 5, 6, 15, 16, 99},
			[]float64{1, 1, 1, 2, 2, 3, 3}},
		{"ranges of integers include both ends", IntLE, RangeToValue, []float64{0, 5, 100, 6, 9, 200, -1},
			[]float64{0, 5, 6, 9, 10}, []float64{100, 100, 200, 200, -1}},
		{"ranges of floats exclude the upper end", FloatLE, RangeToValue, []float64{0, 5, 100, 5, 9, 200, -1},
			[]float64{0, 4.9, 5, 9}, []float64{100, 100, 200, -1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := convert(t, c.dt, c.raw, func(b *builder) int64 { return b.conversion(c.typ, "", c.values) })
			for i, x := range got.values[0] {
				if math.Abs(x-c.want[i]) > 1e-15 || (x != x) != (c.want[i] != c.want[i]) {
					t.Errorf("%v becomes %v, want %v", c.raw[i], x, c.want[i])
				}
			}
		})
	}
}

func TestConversionsToText(t *testing.T) {
	for _, c := range []struct {
		name  string
		dt    DataType
		raw   []float64
		write func(b *builder) int64
		texts []string
	}{
		{"values, with default", IntLE, []float64{1, 2, 3}, func(b *builder) int64 {
			return b.conversion(ValueToText, "", []float64{1, 2}, "one", "two", "other")
		}, []string{"one", "two", "other"}},
		{"values, without default", IntLE, []float64{1, 3}, func(b *builder) int64 {
			return b.conversion(ValueToText, "", []float64{1}, "one", int64(0))
		}, []string{"one", ""}},
		{"nested table as default", IntLE, []float64{1, 7}, func(b *builder) int64 {
			inner := b.conversion(ValueToText, "", []float64{7}, "seven", "none")
			return b.conversion(ValueToText, "", []float64{1}, "one", inner)
		}, []string{"one", "seven"}},
		{"ranges of integers", IntLE, []float64{0, 4, 5, 9}, func(b *builder) int64 {
			return b.conversion(RangeToText, "", []float64{0, 4, 5, 8}, "low", "high", "out")
		}, []string{"low", "low", "high", "out"}},
		{"ranges of floats", FloatLE, []float64{0, 4, 7.9, 8}, func(b *builder) int64 {
			return b.conversion(RangeToText, "", []float64{0, 4, 4, 8}, "low", "high", "out")
		}, []string{"low", "high", "high", "out"}},
		{"bit field", IntLE, []float64{0, 1, 5, -1}, func(b *builder) int64 {
			on := b.conversion(ValueToText, "lamp", []float64{0, 1}, "off", "on", int64(0))
			mode := b.conversion(ValueToText, "", []float64{4}, "auto", int64(0))
			return b.conversion(BitfieldText, "", []float64{1, 4}, on, mode)
		}, []string{"lamp=off", "lamp=on", "lamp=on|auto", "lamp=on|auto"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := convert(t, c.dt, c.raw, c.write)
			if !slices.Equal(got.texts[0], c.texts) {
				t.Errorf("%q, want %q", got.texts[0], c.texts)
			}
			if !slices.Equal(got.values[0], c.raw) {
				t.Errorf("the raw values became %v", got.values[0])
			}
		})
	}
}

func TestMixedTableGivesNumbersAndTexts(t *testing.T) {
	got := convert(t, IntLE, []float64{255, 10, 20}, func(b *builder) int64 {
		linear := b.conversion(Linear, "", []float64{-40, 0.5})
		return b.conversion(ValueToText, "", []float64{255}, "not available", linear)
	})
	if x := got.values[0]; x[0] == x[0] || x[1] != -35 || x[2] != -30 || got.texts[0][0] != "not available" || got.texts[0][1] != "" {
		t.Errorf("%v, %q", got.values[0], got.texts[0])
	}
}

func TestConversionsFromText(t *testing.T) {
	for _, c := range []struct {
		write func(b *builder) int64
		texts []string
		nums  []float64
	}{
		{func(b *builder) int64 {
			return b.conversion(TextToValue, "", []float64{1, 2, -1}, "one", "two")
		}, []string{"two", "one", "six"}, []float64{2, 1, -1}},
		{func(b *builder) int64 { return b.conversion(TextToText, "", nil, "one", "eins", "two", "zwei", "?") },
			[]string{"zwei", "eins", "?"}, nil},
		{func(b *builder) int64 {
			return b.conversion(TextToText, "", nil, "one", "eins", "two", "zwei", int64(0))
		},
			[]string{"zwei", "eins", "six"}, nil},
	} {
		b := newBuilder(0)
		first := b.channels(cn{name: "x", dt: UTF8, bits: 32, conv: c.write(b)})
		g := b.groups(cg{cycles: 3, data: 4, first: first[0]})
		b.dg(0, g[0], b.append("DT", nil, []byte("two\x00one\x00six\x00")))
		got, err := readAll(mustOpen(t, &b.memory).Groups[0], ReadOptions{})
		if err != nil || !slices.Equal(got.texts[0], c.texts) || !slices.Equal(got.values[0], c.nums) {
			t.Errorf("%q %v, %v; want %q %v", got.texts[0], got.values[0], err, c.texts, c.nums)
		}
	}
}

func TestConversionThatRefersToItselfIsRefused(t *testing.T) {
	b := newBuilder(0)
	cc := b.conversion(ValueToText, "", []float64{1}, "one", "other")
	b.setLink(cc, 5, cc)
	first := b.channels(cn{name: "x", dt: UintLE, bits: 8, conv: cc})
	g := b.groups(cg{cycles: 1, data: 1, first: first[0]})
	b.dg(0, g[0], 0)
	var fe *FormatError
	if _, err := b.open(); !errors.As(err, &fe) || fe.Offset != cc {
		t.Errorf("%v", err)
	}
}

func TestLargeTablesAreSearchedAsIfOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(6, 40).Draw(t, "rows")
		v := rapid.SliceOfN(rapid.Map(rapid.IntRange(-20, 20), func(i int) float64 { return float64(i) / 2 }), 3*n+1, 3*n+1).Draw(t, "table")
		large := &Conversion{Type: RangeToValue, Values: v, ranges: newRanges(v, n, 3)}
		plain := &Conversion{Type: RangeToValue, Values: v}
		for x := -11.0; x < 11; x += 0.25 {
			for _, integers := range []bool{false, true} {
				if a, b := large.row(x, integers, n, 3), plain.row(x, integers, n, 3); a != b {
					t.Fatalf("%v, integers %v: row %d, want %d", x, integers, a, b)
				}
			}
		}
	})
}

// A conversion that cannot be applied costs the physical values of its channel, no more.
func TestConversionsThatCannotBeAppliedAreOfTheirChannels(t *testing.T) {
	b := newBuilder(0)
	formula := func(s string) int64 { return b.conversion(Algebraic, "", nil, s) }
	short := b.conversion(Linear, "", []float64{1, 2})
	b.setUint64(short+headerSize+8*4, uint64(Linear)|9<<48) // says 9 values
	bad := []cn{{name: "formula", conv: formula("sysc(X1)")}, {name: "condition", conv: formula("X1>0 ? 1")}, {name: "two", conv: formula("X1+X2")},
		{name: "empty", conv: b.conversion(Algebraic, "", nil, int64(0))},
		{name: "ranges", conv: b.conversion(RangeToValue, "", []float64{0, 1, 2})}, {name: "one value", conv: b.conversion(Linear, "", []float64{1})},
		{name: "unknown type", conv: b.conversion(12, "", nil)}, {name: "short", conv: short},
		{name: "nested", conv: b.conversion(ValueToText, "", []float64{1}, "one", formula("X implies 3"))}}
	list := []cn{{name: "t", typ: Master, sync: SyncTime, dt: FloatLE, bits: 64}, {name: "x", dt: UintLE, off: 8, bits: 32, conv: b.conversion(Linear, "", []float64{0, 2})}}
	for _, c := range bad {
		c.off, c.bits = 8, 32
		list = append(list, c)
	}
	g := b.groups(cg{cycles: 20, data: 12, first: b.channels(list...)[0]})
	b.dg(0, g[0], b.append("DT", nil, samples(20)))
	for name, f := range map[string]*File{"file": mustOpen(t, &b.memory), "excerpt": excerpt(t, mustOpen(t, &b.memory), Deflate, ExcerptOptions{})} {
		chans := f.Groups[0].Channels
		got, err := readAll(f.Groups[0], ReadOptions{}, chans[:2]...)
		if err != nil || len(got.values[1]) != 20 || got.values[1][19] != 6*19 {
			t.Fatalf("%s: %v, %v", name, got.values, err)
		}
		if len(chans) != 2+len(bad) {
			t.Fatalf("%s: %d channels", name, len(chans))
		}
		for _, c := range chans[2:] {
			if c.Err() == nil || c.Err() != c.Conversion.Err() {
				t.Errorf("%s: channel %q: %v", name, c.Name, c.Err())
			}
			if _, err := readAll(f.Groups[0], ReadOptions{}, c); err == nil || !strings.Contains(err.Error(), c.Name) {
				t.Errorf("%s: channel %q: %v", name, c.Name, err)
			}
			got, err := readAll(f.Groups[0], ReadOptions{Raw: true}, c)
			if err != nil || len(got.values[0]) != 20 || got.values[0][19] != 3*19 {
				t.Errorf("%s: channel %q: raw %v, %v", name, c.Name, got.values[0], err)
			}
			x := []float64{1}
			if c.Conversion.Apply(x, true); !math.IsNaN(x[0]) {
				t.Errorf("%s: channel %q: %v", name, c.Name, x)
			}
		}
	}
}

// Where the conversion of the times cannot be applied, an excerpt by time is refused, and one of all records is not.
func TestExcerptNeedsTheTimesItChoosesBy(t *testing.T) {
	b := newBuilder(0)
	g := b.groups(cg{cycles: 9, data: 8, first: b.channels(cn{name: "t", typ: Master, sync: SyncTime, dt: FloatLE, bits: 64, conv: b.conversion(Algebraic, "", nil, "sysc(X)")})[0]})
	b.dg(0, g[0], b.append("DT", nil, make([]byte, 72)))
	f := mustOpen(t, &b.memory)
	if got := excerpt(t, f, Deflate, ExcerptOptions{}); got.Groups[0].Cycles != 9 {
		t.Errorf("%d records", got.Groups[0].Cycles)
	}
	w, err := NewWriter(&memory{}, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Excerpt(t.Context(), w, ExcerptOptions{To: new(3.0)}); !errors.Is(err, f.Groups[0].Master.Err()) {
		t.Errorf("%v", err)
	}
}
