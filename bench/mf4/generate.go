package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// Records of the files at scale 1: 500 MB in A to C, 5 million frames in D, 525,000 records of three groups in E, 10 GB in G.
const (
	wideRecords  = 550_600
	frames       = 5_000_000
	mixedCycles  = 75_000
	largeRecords = 20 * wideRecords
)

var start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// generate writes the file of that name into dir, unless it is there.
func generate(dir, name string, scale float64) error {
	path := filepath.Join(dir, name+".mf4")
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	n := func(records int) int { return max(int(scale*float64(records)), 1) }
	fmt.Fprintln(os.Stderr, "writing", path)
	switch name {
	case "A":
		return wide(path, mdf.Uncompressed, n(wideRecords))
	case "B":
		return wide(path, mdf.Deflate, n(wideRecords))
	case "C":
		return wide(path, mdf.TransposedDeflate, n(wideRecords))
	case "D":
		if err := os.WriteFile(filepath.Join(dir, "bench.dbc"), []byte(database()), 0o644); err != nil {
			return err
		}
		return busLog(path, n(frames))
	case "E":
		return unsorted(path, n(mixedCycles))
	case "G":
		return wide(path, mdf.Uncompressed, n(largeRecords))
	}
	return errors.New("there is no such file")
}

// A table makes the values of a measurement: floats as an analog channel gives them, a slow signal quantised to 1/1024 with a little
// noise, and integers with a linear conversion. They compress, but not trivially.
type table struct {
	floats, ints int
	rng          *rand.Rand
}

func (t *table) spec() (channels []mdf.ChannelSpec) {
	for i := range t.floats {
		channels = append(channels, mdf.ChannelSpec{Name: fmt.Sprintf("f%02d", i), Unit: "V", DataType: mdf.FloatLE, Bits: 64})
	}
	for i := range t.ints {
		channels = append(channels, mdf.ChannelSpec{Name: fmt.Sprintf("i%02d", i), Unit: "V", DataType: mdf.IntLE, Bits: 16,
			Conversion: mdf.LinearConversion(float64(i), 0.01*float64(i+1))})
	}
	return channels
}

func (t *table) float(i, record int) float64 {
	x := math.Sin(float64(record)*(0.0005+0.00003*float64(i)))*float64(1+i) + 0.01*t.rng.NormFloat64()
	return math.Round(x*1024) / 1024
}

func (t *table) int(i, record int) int64 {
	return int64(1000 * math.Sin(float64(record)*(0.0007+0.00005*float64(i))))
}

// wide writes one group of 151 channels, 908 bytes a record, in blocks of 4 MiB.
func wide(path string, c mdf.Compression, records int) error {
	w, err := mdf.Create(path, mdf.WriterOptions{Start: start, Compression: c, BlockBytes: 4 << 20})
	if err != nil {
		return err
	}
	defer w.Abort()
	t := table{floats: 100, ints: 50, rng: rand.New(rand.NewPCG(42, 0))}
	g, err := w.AddGroup(mdf.GroupSpec{Master: mdf.ChannelSpec{Name: "t", Unit: "s", DataType: mdf.FloatLE, Bits: 64}, Channels: t.spec()})
	if err != nil {
		return err
	}
	for from := 0; from < records; from += 4096 {
		n := min(4096, records-from)
		times, columns := make([]float64, n), make([]mdf.Samples, t.floats+t.ints)
		for k := range times {
			times[k] = float64(from+k) * 0.001
			for i := range t.floats {
				columns[i].Float = append(columns[i].Float, t.float(i, from+k))
			}
			for i := range t.ints {
				columns[t.floats+i].Int = append(columns[t.floats+i].Int, t.int(i, from+k))
			}
		}
		if err := g.Append(times, columns...); err != nil {
			return err
		}
	}
	return w.Close()
}

// identifiers are those of the bus log: the first five are in the database.
func identifiers() []uint32 {
	ids := []uint32{0x100, 0x200, 0x3A0, 0x4B1, 0x18FEF100}
	for i := range uint32(20) {
		ids = append(ids, 0x110+i)
	}
	return ids
}

// database describes five messages of four signals each: Intel and Motorola, signed and not.
func database() string {
	s := "VERSION \"\"\n\nBS_:\n\nBU_: ECU\n\n"
	for k, id := range identifiers()[:5] {
		if id > 0x7FF {
			id |= 1 << 31
		}
		s += fmt.Sprintf("BO_ %d M%d: 8 ECU\n", id, k)
		s += fmt.Sprintf(" SG_ S%d_a : 0|16@1+ (%g,%d) [0|0] \"km/h\" ECU\n", k, 0.01*float64(k+1), -k)
		s += fmt.Sprintf(" SG_ S%d_b : 16|12@1- (0.5,0) [0|0] \"Nm\" ECU\n", k)
		s += fmt.Sprintf(" SG_ S%d_c : 39|12@0+ (0.1,-40) [0|0] \"degC\" ECU\n", k)
		s += fmt.Sprintf(" SG_ S%d_d : 48|16@1+ (1,0) [0|0] \"rpm\" ECU\n\n", k)
	}
	return s
}

// busLog writes CAN frames of 25 identifiers in equal shares.
func busLog(path string, n int) error {
	w, err := mdf.Create(path, mdf.WriterOptions{Start: start, BlockBytes: 4 << 20})
	if err != nil {
		return err
	}
	defer w.Abort()
	fw, err := w.AddFrames(mdf.FrameSpec{Bus: "CAN1"})
	if err != nil {
		return err
	}
	rng, ids, data := rand.New(rand.NewPCG(7, 0)), identifiers(), make([]byte, 8)
	for i := range n {
		id := ids[rng.IntN(len(ids))]
		binary.LittleEndian.PutUint64(data, rng.Uint64())
		f := mdf.Frame{Time: float64(i) * 0.0001, Bus: 1, ID: id, Extended: id > 0x7FF, Data: data}
		if err := fw.Append(f); err != nil {
			return err
		}
	}
	return w.Close()
}

// unsorted writes three groups of 31, 31 and 61 channels whose records are mixed in one data block, four, two and one in a cycle, as
// loggers write that cannot know beforehand what will come.
func unsorted(path string, cycles int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := blocks{w: bufio.NewWriterSize(f, 1<<20), f: f}
	tables := []*table{{floats: 20, ints: 10}, {floats: 20, ints: 10}, {floats: 40, ints: 20}}
	counts := []int{4 * cycles, 2 * cycles, cycles}
	size := 0
	for k, t := range tables {
		t.rng = rand.New(rand.NewPCG(11, uint64(k)))
		size += counts[k] * (1 + t.record())
	}
	b.header(tables, counts, int64(size))
	written := make([]int, 3)
	var rec []byte
	for range cycles {
		for _, k := range []int{0, 0, 1, 0, 0, 1, 2} {
			rec = tables[k].appendRecord(append(rec[:0], byte(k+1)), written[k])
			written[k]++
			b.write(rec)
		}
	}
	return errors.Join(b.err, b.w.Flush(), f.Close())
}

func (t *table) record() int { return 8 + 8*t.floats + 2*t.ints }

func (t *table) appendRecord(b []byte, record int) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, math.Float64bits(float64(record)*0.001))
	for i := range t.floats {
		b = le.AppendUint64(b, math.Float64bits(t.float(i, record)))
	}
	for i := range t.ints {
		b = le.AppendUint16(b, uint16(t.int(i, record)))
	}
	return b
}
