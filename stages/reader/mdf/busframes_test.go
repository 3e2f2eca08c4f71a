package mdf

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"testing"
)

// busFile has a group of bus events in the structure of ASAM MDF bus logging, nested as its appendix shows or by names alone.
func busFile(kind FrameKind, nested bool, id string, length string) *builder {
	b := newBuilder(0)
	prefix := string(kind) + "."
	members := []cn{{name: prefix + "BusChannel", dt: UintLE, off: 8, bits: 8}, {name: prefix + id, dt: UintLE, off: 9, bits: 16},
		{name: prefix + "Dir", dt: UintLE, off: 11, bits: 1, conv: b.conversion(ValueToText, "", []float64{0, 1}, "Rx", "Tx")},
		{name: prefix + length, dt: UintLE, off: 12, bits: 16}, {name: prefix + "Extra", dt: UintLE, off: 14, bits: 16},
		{name: prefix + "DataBytes", dt: ByteArray, off: 16, bits: 64 * 8}}
	time := cn{name: "t", typ: Master, sync: SyncTime, dt: UintLE, bits: 64, conv: b.conversion(Linear, "", []float64{0, 0.5})}
	list := append([]cn{time}, members...)
	if nested {
		for i := range members {
			members[i].name = members[i].name[len(prefix):]
		}
		list = []cn{time, {name: string(kind), dt: ByteArray, off: 8, bits: 72 * 8, comp: b.channels(members...)[0]}}
	}
	le := binary.LittleEndian
	var data []byte
	for i := range 5 {
		rec := le.AppendUint64(nil, uint64(i))
		rec = append(rec, byte(1+i%2))
		rec = le.AppendUint16(rec, uint16(0x800+i))
		rec = append(rec, byte(i%2))
		rec = le.AppendUint16(rec, uint16(i*20))
		rec = le.AppendUint16(rec, uint16(i*7))
		for k := range 64 {
			rec = append(rec, byte(i+k))
		}
		data = append(data, rec...)
	}
	g := b.groups(cg{cycles: 5, data: 80, flags: cgBusEvent | cgPlainBus, first: b.channels(list...)[0]})
	b.dg(0, g[0], b.dz("DT", data, 80))
	return b
}

func TestBusEventsOfEveryKind(t *testing.T) {
	for _, tt := range []struct {
		kind       FrameKind
		id, length string
	}{{LINFrame, "ID", "ReceivedDataByteCount"}, {FlexRayFrame, "ID", "DataLength"}, {EthernetFrame, "EtherType", "DataLength"},
		{CANErrorFrame, "ID", "DataLength"}} {
		for _, nested := range []bool{false, true} {
			f := mustOpen(t, &busFile(tt.kind, nested, tt.id, tt.length).memory)
			g := f.Groups[0]
			if g.FrameKind() != tt.kind || g.HasFrames() {
				t.Fatalf("%s: kind %q", tt.kind, g.FrameKind())
			}
			r, err := g.BusFrames(ReadOptions{BlockRecords: 2})
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			for {
				fr, err := r.Next(context.Background())
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				for i := range fr.N {
					k := int(fr.First) + i
					p := fr.Payload(i)
					if fr.Times[i] != float64(k)/2 || fr.Bus[i] != uint8(1+k%2) || fr.ID[i] != uint32(0x800+k) || fr.Transmit[i] != (k%2 == 1) ||
						len(p) != min(k*20, 64) || len(p) > 0 && p[0] != byte(k) || fr.Member("Extra").Values[i] != float64(7*k) || fr.Member("None") != nil {
						t.Fatalf("%s %v: event %d: %+v, payload %v", tt.kind, nested, k, fr, p)
					}
					seen++
				}
			}
			if seen != 5 {
				t.Errorf("%s: %d events", tt.kind, seen)
			}
			r.Close()
		}
	}
	f := timedFile(t, []float64{1, math.Pi})
	if _, err := f.Groups[0].BusFrames(ReadOptions{}); !errors.Is(err, ErrUnsupported) || f.Groups[0].FrameKind() != "" {
		t.Error(err)
	}
}
