package dbc

import (
	"slices"
	"testing"
)

// What of a message cannot be decoded is told with its line, of messages that are there.
func TestDoubtsAreOfMessagesThatFramesHave(t *testing.T) {
	db := mustLoad(t, `BO_ 100 First: 8 X
 SG_ gone : 0|8@1+ (1,0) [0|0] "" X
BO_ 100 X: 8 X
 SG_ wide : 0|65@1+ (1,0) [0|0] "" X
 SG_ none : 0|0@1+ (1,0) [0|0] "" X
 SG_ half : 0|16@1- (1,0) [0|0] "" X
 SG_ behind : 60|16@1+ (1,0) [0|0] "" X
 SG_ fine : 0|8@1+ (1,0) [0|0] "" X
 SG_ fine : 8|8@1+ (1,0) [0|0] "" X
BO_ 101 Absent: 8 X
 SG_ wide : 0|65@1+ (1,0) [0|0] "" X
BO_ 102 Open: 0 X
 SG_ far : 100|8@1+ (1,0) [0|0] "" X
SIG_VALTYPE_ 100 half : 1;
SIG_VALTYPE_ 100 misspelt : 1;
VAL_ 100 nosuch 0 "a" ;
`)
	d := NewDecoder(BusDatabase{Database: db})
	f := &Frames{Offsets: []uint32{0}}
	f.add(0, FrameID{ID: 100}, make([]byte, 8))
	f.add(1, FrameID{ID: 102}, make([]byte, 8))
	d.Decode(f)
	want := []string{
		"car.dbc:3: message X has the id 100 of message First in line 1, which is left out with its signals",
		"car.dbc:4: signal wide of message X never has a value: it is of 65 bits, and a number has 1 to 64",
		"car.dbc:5: signal none of message X never has a value: it is of 0 bits, and a number has 1 to 64",
		"car.dbc:6: signal half of message X never has a value: SIG_VALTYPE_ says a float of 32 bits, SG_ says 16 bits",
		"car.dbc:7: signal behind of message X has a value in longer frames only: it ends in byte 10, and the message has 8",
		"car.dbc:9: message X has two signals fine, lines 8 and 9; by name the first is found",
		`car.dbc:15: SIG_VALTYPE_: no signal "misspelt" in X`,
	}
	var got []string
	for _, err := range Doubts(NewDecoder(BusDatabase{Database: db}), d) {
		got = append(got, err.Error())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// Frames of bus 0 are others than those of bus 1, and than those whose bus nobody knows.
func TestBusZeroIsABusOfItsOwn(t *testing.T) {
	db := mustLoad(t, mixed)
	frames := func(bus ...uint8) *Frames {
		f := &Frames{Offsets: []uint32{0}}
		for i := range 2 {
			f.add(float64(i), FrameID{Bus: append(bus, 0, 0)[i], ID: 292}, []byte{byte(i)})
		}
		if bus == nil {
			f.Bus = nil
		}
		return f
	}
	d := NewDecoder(BusDatabase{Bus: new(uint8(0)), Database: db})
	d.Decode(frames(0, 1))
	d.Decode(frames())
	var got []string
	for _, g := range d.Groups() {
		text := g.FrameID.String()
		if g.Message != nil {
			text += " is " + g.Message.Name
		}
		got = append(got, text)
	}
	if want := []string{"0x124 on bus 0 is Other", "0x124 on bus 1", "0x124 is Other"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
