package mdf

import (
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// wantInteger takes the field apart with big integers, bit by bit as the standard describes it.
func wantInteger(rec []byte, off int, bit, bits uint, bigEndian, signed bool) *big.Int {
	n := int(bit+bits+7) / 8
	b := slices.Clone(rec[off : off+n])
	if !bigEndian {
		slices.Reverse(b)
	}
	v := new(big.Int).SetBytes(b)
	v.Rsh(v, bit)
	v.And(v, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), bits), big.NewInt(1)))
	if signed && v.Bit(int(bits-1)) == 1 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), bits))
	}
	return v
}

func TestIntegersOfAnyPlaceAndWidth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dt := DataType(rapid.IntRange(0, 3).Draw(t, "type"))
		bit := rapid.UintRange(0, 7).Draw(t, "bit offset")
		bits := rapid.UintRange(1, 64).Draw(t, "bits")
		off := rapid.IntRange(0, 9).Draw(t, "byte offset")
		stride := off + int(bit+bits+7)/8 + rapid.IntRange(0, 3).Draw(t, "rest")
		data := rapid.SliceOfN(rapid.Byte(), 3*stride, 3*stride).Draw(t, "records")
		p := newNumber(dt, off, bit, bits)
		got := make([]float64, 3)
		p.decode(got, data, stride)
		for i := range got {
			rec := data[i*stride : (i+1)*stride]
			want, _ := new(big.Float).SetInt(wantInteger(rec, off, bit, bits, p.big, p.signed)).Float64()
			if got[i] != want {
				t.Fatalf("%v, bit %d, %d bits of % x: %v, want %v", dt, bit, bits, rec, got[i], want)
			}
			if u := wantInteger(rec, off, bit, bits, p.big, false); p.uint(rec) != u.Uint64() {
				t.Fatalf("as unsigned: %d, want %d", p.uint(rec), u)
			}
		}
	})
}

func TestFloats(t *testing.T) {
	for _, x := range []float64{0, 1, -1, 1.5, 65504, 0.00006103515625, 5.960464477539063e-08, math.Inf(1), math.Inf(-1), math.NaN()} {
		rec := binary.LittleEndian.AppendUint64(nil, math.Float64bits(x))
		rec = binary.BigEndian.AppendUint64(rec, math.Float64bits(x))
		rec = binary.LittleEndian.AppendUint32(rec, math.Float32bits(float32(x)))
		rec = binary.BigEndian.AppendUint32(rec, math.Float32bits(float32(x)))
		for _, c := range []struct {
			dt   DataType
			off  int
			bits uint
		}{{FloatLE, 0, 64}, {FloatBE, 8, 64}, {FloatLE, 16, 32}, {FloatBE, 20, 32}} {
			p := newNumber(c.dt, c.off, 0, c.bits)
			got := make([]float64, 1)
			if p.decode(got, rec, len(rec)); got[0] != x && !(x != x && got[0] != got[0]) {
				t.Errorf("%v of %d bits: %v, want %v", c.dt, c.bits, got[0], x)
			}
		}
	}
}

func TestHalfFloats(t *testing.T) {
	for h, want := range map[uint16]float64{0: 0, 0x3C00: 1, 0xC000: -2, 0x7BFF: 65504, 1: 5.960464477539063e-08,
		0x0400: 6.103515625e-05, 0x7C00: math.Inf(1), 0xFC00: math.Inf(-1), 0x3555: 0.333251953125} {
		rec := []byte{byte(h), byte(h >> 8), byte(h >> 8), byte(h)}
		got := make([]float64, 2)
		little, big := newNumber(FloatLE, 0, 0, 16), newNumber(FloatBE, 2, 0, 16)
		little.decode(got[:1], rec, 4)
		big.decode(got[1:], rec, 4)
		if got[0] != want || got[1] != want {
			t.Errorf("%#x: %v, want %v", h, got, want)
		}
	}
	if x := float16(0x7E00); x == x {
		t.Errorf("NaN is %v", x)
	}
}
