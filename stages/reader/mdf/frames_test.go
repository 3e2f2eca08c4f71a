package mdf

import (
	"slices"
	"testing"
)

// Bus 0 is a bus where the frames say it, or the name of their group; where nothing does, it is none.
func TestFramesSayWhetherTheirBusIsKnown(t *testing.T) {
	member := cn{name: "CAN_DataFrame.BusChannel", dt: UintLE, off: 8, bits: 8}
	for _, tt := range []struct {
		name   string
		member bool
		known  bool
		bus    []uint8
	}{
		{"CAN2_Rx", true, true, []uint8{0, 1, 0}}, {"", true, true, []uint8{0, 1, 0}},
		{"CAN0", false, true, []uint8{0, 0, 0}}, {"CAN 3", false, true, []uint8{3, 3, 3}},
		{"CAN_DataFrame", false, false, []uint8{0, 0, 0}}, {"", false, false, []uint8{0, 0, 0}},
	} {
		b := newBuilder(0)
		list := []cn{{name: "t", typ: Master, sync: SyncTime, dt: UintLE, bits: 64}, {name: "CAN_DataFrame.ID", dt: UintLE, off: 9, bits: 16},
			{name: "CAN_DataFrame.DataBytes", dt: ByteArray, off: 11, bits: 8}}
		if tt.member {
			list = append(list, member)
		}
		var data []byte
		for i := range byte(3) {
			data = append(data, i, 0, 0, 0, 0, 0, 0, 0, i%2, 7, 0, 42)
		}
		g := b.groups(cg{cycles: 3, data: 12, first: b.channels(list...)[0]})
		b.dg(0, g[0], b.dz("DT", data, 12))
		f := mustOpen(t, &b.memory)
		f.Groups[0].AcqName = tt.name
		r, err := f.Groups[0].Frames()
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got.BusKnown != tt.known || !slices.Equal(got.Bus, tt.bus) || (got.Buses() != nil) != tt.known {
			t.Errorf("group %q, member %v: buses %v, known %v; want %v, %v", tt.name, tt.member, got.Bus, got.BusKnown, tt.bus, tt.known)
		}
	}
}
