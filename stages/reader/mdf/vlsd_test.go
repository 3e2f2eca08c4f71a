package mdf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func floatBits(x float64) uint64 { return math.Float64bits(x) }

// vlsdFile has n values in SD blocks of which the records name every one in the given order.
func vlsdFile(order []int, dt DataType, encode func(i int) []byte, sizes ...int) *builder {
	b := newBuilder(0)
	le := binary.LittleEndian
	var sd, data []byte
	offsets := make([]uint64, len(order))
	for i := range order {
		offsets[i] = uint64(len(sd))
		v := encode(i)
		sd = append(le.AppendUint32(sd, uint32(len(v))), v...)
	}
	for _, i := range order {
		data = le.AppendUint64(data, offsets[i])
	}
	first := b.channels(cn{name: "s", typ: VLSD, dt: dt, bits: 64, data: b.split("SD", sd, sizes...)})
	g := b.groups(cg{cycles: uint64(len(order)), data: 8, first: first[0]})
	b.dg(0, g[0], b.append("DT", nil, data))
	return b
}

func TestValuesAreFoundByOffsetInAnyOrder(t *testing.T) {
	value := func(i int) []byte { return fmt.Appendf(nil, "value %d %0*d", i, i%50, 0) }
	up := make([]int, 3000)
	for i := range up {
		up[i] = i
	}
	down := slices.Clone(up)
	slices.Reverse(down)
	random := rand.New(rand.NewPCG(1, 2)).Perm(len(up))
	same := make([]int, len(up))
	for name, order := range map[string][]int{"ascending": up, "descending": down, "random": random, "one for all": same} {
		for _, sizes := range [][]int{{1 << 20}, {1000, 50, 1}} {
			t.Run(fmt.Sprint(name, sizes), func(t *testing.T) {
				b := vlsdFile(order, UTF8, value, sizes...)
				got, err := readAll(mustOpen(t, &b.memory).Groups[0], ReadOptions{})
				if err != nil || len(got.texts[0]) != len(order) {
					t.Fatalf("%d texts, %v", len(got.texts[0]), err)
				}
				for k, i := range order {
					if got.texts[0][k] != string(value(i)) {
						t.Fatalf("record %d: %q", k, got.texts[0][k])
					}
				}
			})
		}
	}
}

func TestTextEncodings(t *testing.T) {
	for _, c := range []struct {
		dt   DataType
		raw  string
		want string
	}{
		{Latin1, "gr\xfc\xdfe\x00x", "grüße"},
		{UTF8, "grüße\x00x", "grüße"},
		{UTF16LE, "g\x00\xfc\x00\x3d\xd8\x00\xde\x00\x00x\x00", "gü😀"},
		{UTF16BE, "\x00g\x00\xfc\xd8\x3d\xde\x00\x00\x00\x00x", "gü😀"},
		{UTF16LE, "\x3d\xd8x\x00", "\uFFFDx"},
		{UTF16LE, "x\x00y", "x"},
		{ByteArray, "a\x00b\x00", "a\x00b\x00"},
	} {
		b := vlsdFile([]int{0}, c.dt, func(int) []byte { return []byte(c.raw) }, 100)
		got, err := readAll(mustOpen(t, &b.memory).Groups[0], ReadOptions{})
		if err != nil || got.texts[0][0] != c.want {
			t.Errorf("%v %q: %q, %v", c.dt, c.raw, got.texts[0], err)
		}
	}
}

func TestOffsetPastTheValuesIsAnError(t *testing.T) {
	b := vlsdFile([]int{0, 1, 2}, UTF8, func(i int) []byte { return []byte("abc") }, 100)
	at := bytes.LastIndex(b.b, binary.LittleEndian.AppendUint64(nil, 14))
	binary.LittleEndian.PutUint64(b.b[at:], 15)
	got, err := readAll(mustOpen(t, &b.memory).Groups[0], ReadOptions{})
	var fe *FormatError
	if !errors.As(err, &fe) || len(got.texts[0]) != 2 {
		t.Errorf("%d texts, %v", len(got.texts[0]), err)
	}
}

func TestMaximumLengthSamples(t *testing.T) {
	b := newBuilder(0)
	first := b.channels(cn{name: "n", dt: UintLE, bits: 8},
		cn{name: "s", typ: MLSD, dt: ByteArray, off: 1, bits: 32})
	b.setLink(first[1], 5, first[0])
	g := b.groups(cg{cycles: 3, data: 5, first: first[0]})
	b.dg(0, g[0], b.append("DT", nil, []byte("\x02abcd\x00abcd\x09abcd")))
	got, err := readAll(mustOpen(t, &b.memory).Groups[0], ReadOptions{})
	if err != nil || !slices.Equal(got.texts[1], []string{"ab", "", "abcd"}) {
		t.Errorf("%q, %v", got.texts, err)
	}
}
