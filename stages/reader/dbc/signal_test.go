package dbc

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// oracle reads a signal one bit at a time, as the format describes it: Intel from the lowest bit upwards; Motorola from the
// highest bit downwards, sawtooth: after bit 0 of a byte comes bit 7 of the next.
func oracle(s *Signal, payload []byte) (uint64, bool) {
	var v uint64
	at := s.Start
	for i := range s.Size {
		if at/8 >= len(payload) {
			return 0, false
		}
		bit := uint64(payload[at/8]>>(at%8)) & 1
		switch {
		case !s.Motorola:
			v |= bit << i
			at++
		case at%8 == 0:
			v = v<<1 | bit
			at += 15
		default:
			v = v<<1 | bit
			at--
		}
	}
	return v, true
}

func TestRawEqualsTheBitOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &Signal{
			Start: rapid.IntRange(0, 511).Draw(t, "start"), Size: rapid.IntRange(1, 64).Draw(t, "size"),
			Motorola: rapid.Bool().Draw(t, "motorola"), Kind: rapid.SampledFrom([]Kind{KindUnsigned, KindSigned}).Draw(t, "kind"),
			Factor: rapid.SampledFrom([]float64{1, 0.01, -3, 1e-6}).Draw(t, "factor"), Offset: rapid.SampledFrom([]float64{0, -40, 1e9}).Draw(t, "offset"),
		}
		s.place()
		payload := rapid.SliceOfN(rapid.Byte(), 0, 72).Draw(t, "payload")
		want, there := oracle(s, payload)
		wantRaw := int64(want)
		physical := float64(want)
		if s.Kind == KindSigned && s.Size < 64 && want>>(s.Size-1) == 1 {
			wantRaw -= int64(1) << s.Size
		}
		if s.Kind == KindSigned {
			physical = float64(wantRaw)
		}
		if !there {
			wantRaw, physical = 0, 0
		} else {
			physical *= s.Factor
			physical += s.Offset
		}
		if got, ok := s.Raw(payload); ok != there || ok && got != wantRaw {
			t.Fatalf("raw = %d, %v, want %d, %v", got, ok, wantRaw, there)
		}
		if got, ok := s.Decode(payload); ok != there || got != physical {
			t.Fatalf("value = %v, %v, want %v, %v", got, ok, physical, there)
		}
	})
}

func TestDecodeFloats(t *testing.T) {
	payload := make([]byte, 64)
	binary.LittleEndian.PutUint32(payload[3:], math.Float32bits(-1.5))
	binary.BigEndian.PutUint64(payload[20:], math.Float64bits(math.Pi))
	f32 := &Signal{Start: 24, Size: 32, Kind: KindFloat32, Factor: 2, Offset: 1}
	f64 := &Signal{Start: 20*8 + 7, Size: 64, Motorola: true, Kind: KindFloat64, Factor: 1}
	f32.place()
	f64.place()
	if v, ok := f32.Decode(payload); !ok || v != -2 {
		t.Errorf("float32 = %v, %v", v, ok)
	}
	if v, ok := f64.Decode(payload); !ok || v != math.Pi {
		t.Errorf("float64 = %v, %v", v, ok)
	}
	if v, ok := f64.Decode(payload[:27]); ok {
		t.Errorf("float64 from 7 of its bytes = %v", v)
	}
}

func TestWideAndMistypedSignalsHaveNoValue(t *testing.T) {
	db := mustLoad(t, `BO_ 5 N: 64 X
 SG_ Wide : 0|128@1+ (1,0) [0|9] "" X
 SG_ Empty : 0|0@1+ (1,0) [0|9] "" X
 SG_ Half : 0|16@1+ (1,0) [0|9] "" X
SIG_VALTYPE_ 5 Half : 1;
`)
	for _, s := range db.Messages[0].Signals {
		if v, ok := s.Decode(make([]byte, 64)); ok {
			t.Errorf("%s = %v", s.Name, v)
		}
	}
	if len(db.Warnings) != 3 {
		t.Errorf("warnings = %v", db.Warnings)
	}
}

func TestShortPayloadDecodesAsFarAsItGoes(t *testing.T) {
	db := mustLoad(t, "BO_ 7 GNSS_SPEED: 8 X\n SG_ Valid : 0|1@1+ (1,0) [0|1] \"\" X\n SG_ Speed : 1|20@1+ (0.001,0) [0|1048] \"m/s\" X\n SG_ Far : 56|8@1+ (1,0) [0|1] \"\" X")
	raw := uint32(12345)<<1 | 1
	payload := []byte{byte(raw), byte(raw >> 8), byte(raw >> 16), 0, 0}
	want := []float64{1, 12.345, 0}
	for i, s := range db.Messages[0].Signals {
		v, ok := s.Decode(payload)
		if v != want[i] || ok != (i < 2) {
			t.Errorf("%s = %v, %v", s.Name, v, ok)
		}
	}
}

func TestMultiplexedSignals(t *testing.T) {
	db := mustLoad(t, `BO_ 5 N: 8 X
 SG_ Page M : 0|8@1+ (1,0) [0|9] "" X
 SG_ Always : 56|8@1+ (1,0) [0|9] "" X
 SG_ A m0 : 8|8@1+ (1,0) [0|9] "" X
 SG_ B m1 : 8|8@1+ (1,0) [0|9] "" X
 SG_ Sub m2M : 8|8@1+ (1,0) [0|9] "" X
 SG_ C m5 : 16|8@1+ (1,0) [0|9] "" X
SG_MUL_VAL_ 5 Sub Page 2-2, 4-6;
SG_MUL_VAL_ 5 C Sub 5-5, 7-9;
`)
	tests := []struct {
		payload []byte
		want    string
	}{
		{[]byte{0, 5, 6, 0, 0, 0, 0, 9}, "Page=0 Always=9 A=5"},
		{[]byte{1, 5, 6, 0, 0, 0, 0, 9}, "Page=1 Always=9 B=5"},
		{[]byte{2, 5, 6, 0, 0, 0, 0, 9}, "Page=2 Always=9 Sub=5 C=6"},
		{[]byte{5, 8, 6, 0, 0, 0, 0, 9}, "Page=5 Always=9 Sub=8 C=6"},
		{[]byte{5, 6, 6, 0, 0, 0, 0, 9}, "Page=5 Always=9 Sub=6"},
		{[]byte{3, 5, 6, 0, 0, 0, 0, 9}, "Page=3 Always=9"},
		{nil, ""},
	}
	for _, tt := range tests {
		got := ""
		for _, s := range db.Messages[0].Signals {
			if v, ok := s.Decode(tt.payload); ok {
				got += fmt.Sprintf(" %s=%v", s.Name, v)
			}
		}
		if got = trimSpace(got); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.payload, got, tt.want)
		}
	}
	if !db.Messages[0].Signals[0].IsSwitch || !db.Messages[0].Signals[4].IsSwitch {
		t.Error("M and m2M are switches")
	}
}

func trimSpace(s string) string {
	if s != "" {
		return s[1:]
	}
	return s
}

func TestRowsEqualSingleDecodes(t *testing.T) {
	m := mustLoad(t, sample).Messages[0]
	rapid.Check(t, func(t *rapid.T) {
		f := &Frames{Offsets: []uint32{0}}
		for i, n := 0, rapid.IntRange(0, 20).Draw(t, "frames"); i < n; i++ {
			f.add(float64(i), FrameID{}, rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "payload"))
		}
		r := Rows{Signals: m.Signals}
		for range 2 { // the second time in the memory of the first
			r.Reset()
			var picked []int
			for i := range f.ID {
				if rapid.Bool().Draw(t, "picked") {
					r.Pick(i)
					picked = append(picked, i)
				}
			}
			r.Decode(f)
			for j, s := range m.Signals {
				for k, i := range picked {
					v, ok := s.Decode(f.Data[f.Offsets[i]:f.Offsets[i+1]])
					if !ok {
						v = math.NaN()
					}
					if r.Valid[j][k] != ok || math.Float64bits(r.Values[j][k]) != math.Float64bits(v) {
						t.Fatalf("%s of frame %d = %v, want %v", s.Name, i, r.Values[j][k], v)
					}
				}
			}
		}
	})
}

// thousand are rows of a thousand frames of the first message of the sample.
func thousand(t testing.TB) (*Rows, *Frames) {
	f := &Frames{Offsets: []uint32{0}}
	r := &Rows{Signals: mustLoad(t, sample).Messages[0].Signals}
	for i := range 1000 {
		f.add(float64(i), FrameID{}, []byte{byte(i), 1, 2, 3, 4, 5, 6, 7})
		r.Pick(i)
	}
	return r, f
}

func TestRowsDoNotAllocate(t *testing.T) {
	r, f := thousand(t)
	r.Decode(f)
	if n := testing.AllocsPerRun(10, func() { r.Decode(f) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecodeRows(b *testing.B) {
	r, f := thousand(b)
	b.ReportAllocs()
	for b.Loop() {
		r.Decode(f)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*r.Len()*len(r.Signals)), "ns/value")
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("BO_ 5 N: 8 X\n SG_ P M : 0|8@1+ (1,0) [0|9] \"\" X\n SG_ A m2M : 7|8@0- (+1,.5) [0|9] \"\"\nSG_MUL_VAL_ 5 A P 2-2, 4-6;"))
	f.Add([]byte("CM_ \"x\nBO_ 3221225472 V: 0 X\n SG_ q : 0|16@0+ (1,0) [0|0] \"\xb0\" X\nVAL_ 3221225472 q T;"))
	f.Fuzz(func(t *testing.T, file []byte) {
		db, err := Load("f", file)
		if (db == nil) == (err == nil) {
			t.Fatalf("Load = %v, %v", db, err)
		}
		if err != nil {
			return
		}
		payload := make([]byte, 64)
		for i := range payload {
			payload[i] = byte(i * 37)
		}
		for _, m := range db.Messages {
			for _, s := range m.Signals {
				s.Decode(payload)
				s.Decode(payload[:3])
			}
		}
	})
}

func FuzzRaw(f *testing.F) {
	f.Add(uint16(7), uint8(12), true, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(uint16(3), uint8(64), false, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Fuzz(func(t *testing.T, start uint16, size uint8, motorola bool, payload []byte) {
		s := &Signal{Start: int(start), Size: int(size)%64 + 1, Motorola: motorola, Factor: 1}
		s.place()
		want, there := oracle(s, payload)
		if got, ok := s.raw(payload); ok != there || ok && got != want {
			t.Fatalf("raw = %#x, %v, want %#x, %v", got, ok, want, there)
		}
	})
}
