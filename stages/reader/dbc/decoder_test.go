package dbc

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func (f *Frames) add(t float64, id FrameID, data []byte) {
	f.Times, f.Bus = append(f.Times, t), append(f.Bus, id.Bus)
	f.ID, f.Extended = append(f.ID, id.ID), append(f.Extended, id.Extended)
	f.Data = append(f.Data, data...)
	f.Offsets = append(f.Offsets, uint32(len(f.Data)))
}

const mixed = `
BO_ 291 Motion: 64 X
 SG_ U : 0|12@1+ (0.5,-3) [0|0] "" X
 SG_ S : 12|13@1- (0.01,0) [0|0] "" X
 SG_ MU : 7|11@0+ (2,1) [0|0] "" X
 SG_ MS : 33|17@0- (1,0) [0|0] "" X
 SG_ F : 24|32@1- (1,0) [0|0] "" X
 SG_ All : 0|64@1- (1,0) [0|0] "" X
 SG_ MAll : 7|64@0+ (1,0) [0|0] "" X
 SG_ Far : 200|24@1+ (1,0) [0|0] "" X
 SG_ Page M : 0|2@1+ (1,0) [0|0] "" X
 SG_ P1 m1 : 8|8@1+ (1,0) [0|0] "" X
BO_ 292 Other: 8 X
 SG_ U : 0|8@1+ (1,0) [0|0] "" X
SIG_VALTYPE_ 291 F : 1;
`

func TestDecoderEqualsSingleDecodes(t *testing.T) {
	db := mustLoad(t, mixed)
	d := NewDecoder(BusDatabase{Database: db})
	rapid.Check(t, func(t *rapid.T) {
		f := &Frames{Offsets: []uint32{0}}
		for i, n := 0, rapid.IntRange(0, 30).Draw(t, "frames"); i < n; i++ {
			id := FrameID{Bus: rapid.Uint8Range(0, 2).Draw(t, "bus"), ID: rapid.Uint32Range(290, 293).Draw(t, "id")}
			f.add(float64(i), id, rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "payload"))
		}
		seen := 0
		for _, g := range d.Decode(f) {
			for k, time := range g.Times {
				i := int(time)
				seen++
				if f.ID[i] != g.ID || f.Bus[i] != g.Bus {
					t.Fatalf("frame %d in group %v", i, g.FrameID)
				}
				for j, s := range g.Signals {
					v, ok := s.Decode(f.Data[f.Offsets[i]:f.Offsets[i+1]])
					if !ok {
						v = math.NaN()
					}
					if g.Valid[j][k] != ok || math.Float64bits(v) != math.Float64bits(g.Values[j][k]) && !(v != v && g.Values[j][k] != g.Values[j][k]) {
						t.Fatalf("%s of %x: %v, want %v, %v", s.Name, g.Payload(f, k), g.Values[j][k], v, ok)
					}
				}
			}
		}
		for _, id := range f.ID {
			if id == 291 || id == 292 {
				seen--
			}
		}
		if seen != 0 {
			t.Fatalf("%d frames too many", seen)
		}
	})
}

const j1939 = `
BO_ 2364540158 EEC1: 8 X
 SG_ EngineSpeed : 24|16@1+ (0.125,0) [0|0] "rpm" X
BO_ 2365475326 FromTwo: 8 X
 SG_ A : 0|8@1+ (1,0) [0|0] "" X
BO_ 2365475074 FromTwoExact: 8 X
 SG_ A : 0|8@1+ (2,0) [0|0] "" X
BO_ 2566848000 Plain: 8 X
 SG_ A : 0|8@1+ (1,0) [0|0] "" X
BO_ 2565472510 PDU1: 8 X
 SG_ A : 0|8@1+ (3,0) [0|0] "" X
BA_DEF_ BO_  "VFrameFormat" ENUM  "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_  "VFrameFormat" "J1939PG";
BA_ "ProtocolType" "J1939";
BA_ "VFrameFormat" BO_ 2566848000 1;
`

// The ids are those of EEC1 (PGN 61444) and others with another priority, source or destination address.
func TestJ1939MessagesAreFoundByTheirGroup(t *testing.T) {
	db := mustLoad(t, j1939)
	for _, tt := range []struct {
		id   uint32
		name string
	}{
		{0x0CF004FE, "EEC1"}, {0x18F00400, "EEC1"}, {0x0CF00421, "EEC1"}, {0x0CF00500, ""}, {0x1CF00400, "EEC1"},
		{0x0DF00400, ""}, // data page 1
		{2365475326 &^ ExtendedFlag, "FromTwo"}, {2365475074 &^ ExtendedFlag, "FromTwoExact"},
		{0x0CFE4902, "FromTwoExact"}, {0x18FE4902, "FromTwoExact"}, {0x0CFE4903, "FromTwo"},
		{2566848000 &^ ExtendedFlag, "Plain"}, {2566848000&^ExtendedFlag + 1, ""},
		{0x18EA00FE, "PDU1"}, {0x18EA2103, "PDU1"}, {0x18EB2103, ""}, // another destination, another group
	} {
		name := ""
		if m, ok := db.Match(tt.id, true); ok {
			name = m.Name
		}
		if name != tt.name {
			t.Errorf("%#x (PGN %d): %q, want %q", tt.id, PGN(tt.id), name, tt.name)
		}
	}
	if _, ok := db.Match(0x400, false); ok {
		t.Error("an 11-bit id has no parameter group")
	}
	if !db.IsJ1939() || mustLoad(t, mixed).IsJ1939() {
		t.Error("IsJ1939 is wrong")
	}
}

func TestPGN(t *testing.T) {
	for id, want := range map[uint32]uint32{0x0CF00400: 61444, 0x18FEF100: 65265, 0x18EAFFFE: 59904, 0x1DEFAA12: 0x1EF00, 0x0FF00400: 0x3F004} {
		if got := PGN(id); got != want {
			t.Errorf("%#x: %d, want %d", id, got, want)
		}
	}
}

func TestDatabaseThatMatchesNothingNamesTheClosestIDs(t *testing.T) {
	db := mustLoad(t, mixed)
	d := NewDecoder(BusDatabase{Database: db})
	f := &Frames{Offsets: []uint32{0}}
	f.add(0, FrameID{1, true, 0x7E8, false}, nil)
	f.add(1, FrameID{1, true, 0x123, true}, nil)
	f.add(2, FrameID{2, true, 0x126, false}, nil)
	if got := d.Decode(f); len(got) != 0 {
		t.Fatalf("%v", got)
	}
	all := d.Unmatched()
	if len(all) != 1 || len(all[0].Close) != 3 {
		t.Fatalf("%+v", all)
	}
	text := all[0].Error()
	for _, want := range []string{"2 messages", "3 ids", "0x123 (extended) on bus 1 to 0x123 of Motion (extended, not of 11 bits)", "0x126 on bus 2 to 0x124 of Other (2 away)"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nhas no %q", text, want)
		}
	}
	if strings.Index(text, "0x123 (ext") > strings.Index(text, "0x126") {
		t.Errorf("%s: not the nearest first", text)
	}
	f.add(3, FrameID{2, true, 0x123, false}, []byte{1})
	if d.Decode(f); len(d.Unmatched()) != 0 {
		t.Error("a frame matches")
	}
	bus := NewDecoder(BusDatabase{Bus: new(uint8(1)), Database: db})
	bus.Decode(f)
	if u := bus.Unmatched(); len(u) != 1 || !strings.Contains(u[0].Error(), "0x123 on bus 2 to 0x123 of Motion (the database is for bus 1)") {
		t.Errorf("%v", u)
	}
}

func TestManyIdentifiersAreKeptApartUpToABound(t *testing.T) {
	d := NewDecoder(BusDatabase{Database: mustLoad(t, mixed)})
	f := &Frames{Offsets: []uint32{0}}
	for i := range uint32(maxGroups + 10) {
		f.add(float64(i), FrameID{3, true, i * 7, true}, []byte{1, 2})
	}
	for range 2 {
		d.Decode(f)
	}
	if len(d.Groups()) != maxGroups || d.Beyond() != 20 || d.Groups()[5].Frames != 2 || d.Groups()[5].ID != 35 {
		t.Errorf("%d groups, %d frames beyond", len(d.Groups()), d.Beyond())
	}
}

func TestDecoderDoesNotAllocate(t *testing.T) {
	d := NewDecoder(BusDatabase{Database: mustLoad(t, mixed)})
	f := benchFrames(1000)
	d.Decode(f)
	if n := testing.AllocsPerRun(20, func() { d.Decode(f) }); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

func benchFrames(n int) *Frames {
	f := &Frames{Offsets: []uint32{0}}
	for i := range n {
		f.add(float64(i), FrameID{1, true, uint32(280 + i%25), false}, binary.LittleEndian.AppendUint64(nil, uint64(i)*0x123456789))
	}
	return f
}

func BenchmarkDecoder(b *testing.B) {
	db, err := Load("car.dbc", []byte(mixed))
	if err != nil {
		b.Fatal(err)
	}
	d := NewDecoder(BusDatabase{Database: db})
	f := benchFrames(8192)
	b.ReportAllocs()
	for b.Loop() {
		d.Decode(f)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(f.ID)), "ns/frame")
}
