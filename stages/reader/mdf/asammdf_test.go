//go:build asammdf

package mdf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The script prints what asammdf reads of a file: for each group its name and for each channel all samples,
// invalid ones too.
const asammdfScript = `
import json, sys
from asammdf import MDF
m = MDF(sys.argv[1])
out = {"start": m.header.start_time.timestamp(), "comment": m.header.description, "groups": [],
       "can": {str(b): sorted(int(i) for i in ids) for b, ids in m.bus_logging_map["CAN"].items()}}
for i, g in enumerate(m.groups):
    channels = []
    for k, c in enumerate(g.channels):
        s = m.get(group=i, index=k, ignore_invalidation_bits=True)
        if s.samples.dtype.names or s.samples.ndim > 1 or s.samples.dtype.kind in "SO":
            continue
        channels.append({"name": c.name, "unit": s.unit, "times": s.timestamps.tolist(), "values": s.samples.tolist()})
    out["groups"].append({"name": g.channel_group.acq_name, "channels": channels})
json.dump(out, open(sys.argv[2], "w"))
`

type asammdfFile struct {
	Start  float64
	Groups []struct {
		Name     string
		Channels []struct {
			Name, Unit    string
			Times, Values []float64
		}
	}
	CAN map[string][]uint32
}

// TestASAMMDFReadsWhatIsWritten needs a Python with asammdf 8, named by ASAMMDF_PYTHON.
func TestASAMMDFReadsWhatIsWritten(t *testing.T) {
	python := os.Getenv("ASAMMDF_PYTHON")
	if python == "" {
		t.Fatal("set ASAMMDF_PYTHON to a Python that has asammdf 8")
	}
	for _, c := range []Compression{Uncompressed, Deflate, TransposedDeflate} {
		for _, version := range []int{410, 411} {
			t.Run(fmt.Sprint("compression ", c, " version ", version), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "a.mf4")
				writeForASAMMDF(t, path, WriterOptions{Compression: c, Version: version, BlockBytes: 5000,
					Start: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)})
				compareWithASAMMDF(t, path, runASAMMDF(t, python, path))
			})
		}
	}
}

func writeForASAMMDF(t *testing.T, path string, opts WriterOptions) {
	t.Helper()
	w, err := Create(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	const n = 2000
	g, err := w.AddGroup(GroupSpec{AcqName: "numbers", Channels: []ChannelSpec{
		{Name: "u12", Unit: "km/h", DataType: UintLE, Bits: 12, Conversion: LinearConversion(-3, 0.01)},
		{Name: "i24 big", DataType: IntBE, Bits: 24}, {Name: "u64", DataType: UintLE, Bits: 64},
		{Name: "f32", DataType: FloatLE, Bits: 32, Invalidation: true}, {Name: "f64 big", DataType: FloatBE, Bits: 64},
		{Name: "i5", DataType: IntLE, Bits: 5, Invalidation: true}}})
	if err != nil {
		t.Fatal(err)
	}
	times, cols := make([]float64, n), make([]Samples, 6)
	for i := range n {
		times[i] = float64(i) * 0.02
		cols[0].Uint = append(cols[0].Uint, uint64(i*2))
		cols[1].Int = append(cols[1].Int, int64(i*4001-3000000))
		cols[2].Uint = append(cols[2].Uint, uint64(i)<<40)
		cols[3].Float = append(cols[3].Float, math.Sin(float64(i)))
		cols[3].Valid = append(cols[3].Valid, i%3 > 0)
		cols[4].Float = append(cols[4].Float, float64(i)*1.1)
		cols[5].Int = append(cols[5].Int, int64(i%32-16))
		cols[5].Valid = append(cols[5].Valid, i%5 > 0)
	}
	if err := g.Append(times, cols...); err != nil {
		t.Fatal(err)
	}
	fw, err := w.AddFrames(FrameSpec{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 700 {
		err = errors.Join(err, fw.Append(Frame{Time: float64(i) / 100, Bus: uint8(1 + i%2), ID: uint32(0x100 + i%3), Data: make([]byte, i%9)}))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
}

func runASAMMDF(t *testing.T, python, path string) (out asammdfFile) {
	t.Helper()
	result := path + ".json"
	cmd := exec.Command(python, "-c", asammdfScript, path, result)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	b, err := os.ReadFile(result)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func compareWithASAMMDF(t *testing.T, path string, theirs asammdfFile) {
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if float64(f.Start.Unix()) != theirs.Start || len(theirs.Groups) != len(f.Groups) {
		t.Fatalf("start %v, %d groups", theirs.Start, len(theirs.Groups))
	}
	if fmt.Sprint(theirs.CAN) != "map[1:[256 257 258] 2:[256 257 258]]" {
		t.Errorf("no bus logging: %v", theirs.CAN)
	}
	for i, g := range theirs.Groups {
		if g.Name != f.Groups[i].AcqName || len(g.Channels) < 7 {
			t.Errorf("group %d is %q with %d channels", i, g.Name, len(g.Channels))
		}
		for _, c := range g.Channels {
			ours := f.Groups[i].Channel(c.Name, 0)
			got, err := readAll(f.Groups[i], ReadOptions{}, ours)
			if err != nil || ours.Unit != c.Unit || len(got.times) != len(c.Times) {
				t.Fatalf("%s [%s]: %d of %d samples, %v", c.Name, c.Unit, len(got.times), len(c.Times), err)
			}
			for k := range c.Values {
				if got.times[k] != c.Times[k] || got.values[0][k] != c.Values[k] {
					t.Fatalf("%s %d: we read %v at %v, asammdf %v at %v", c.Name, k, got.values[0][k], got.times[k], c.Values[k], c.Times[k])
				}
			}
		}
	}
}
