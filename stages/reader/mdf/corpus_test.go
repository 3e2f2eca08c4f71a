//go:build corpus

package mdf_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// corpus returns a folder of given files: the environment variable, or the one beside the module.
func corpus(t testing.TB, env, name string) string {
	t.Helper()
	dir := os.Getenv(env)
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", name)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("the folder of %s is missing, set %s: %v", name, env, err)
	}
	return dir
}

type wantChannel struct {
	Unit                        string
	Count, Valid                int
	Min, Max, Mean, First, Last float64
}

type wantGroup struct {
	Index        int
	AcqName      string `json:"acq_name"`
	Records      int
	Kind         string
	TFirst       int64          `json:"t_first_ns"`
	TLast        int64          `json:"t_last_ns"`
	TMin         int64          `json:"t_min_ns"`
	TMax         int64          `json:"t_max_ns"`
	BytesPayload int            `json:"bytes_payload"`
	FramesPerBus map[string]int `json:"frames_per_bus"`
	FramesPerID  map[string]int `json:"frames_per_id"`
	SHA256       string
	Channels     map[string]wantChannel
}

type wantFile struct {
	Bytes        int64
	Version      string
	Start        time.Time `json:"start_time_utc"`
	Groups       []wantGroup
	RecordsTotal int `json:"records_total"`
}

func TestRoadLogsGiveTheExpectedNumbers(t *testing.T) {
	dir := corpus(t, "ROADLOGS", "roadlogs")
	b, err := os.ReadFile(filepath.Join(dir, "expected", "reader.json"))
	if err != nil {
		t.Fatal(err)
	}
	var files map[string]wantFile
	if err := json.Unmarshal(b, &files); err != nil {
		t.Fatal(err)
	}
	if len(files) < 40 {
		t.Fatalf("%d files expected, at least 40 should be", len(files))
	}
	for name, want := range files {
		t.Run(name, func(t *testing.T) { checkRoadLog(t, filepath.Join(dir, name), want) })
	}
}

func checkRoadLog(t *testing.T, path string, want wantFile) {
	f, err := mdf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if v := fmt.Sprintf("%d.%02d", f.Version/100, f.Version%100); v != want.Version || f.Size() != want.Bytes {
		t.Errorf("version %s, %d bytes; want %s, %d", v, f.Size(), want.Version, want.Bytes)
	}
	if !f.Start.Equal(want.Start) {
		t.Errorf("start %v, want %v", f.Start, want.Start)
	}
	if err := f.Recount(context.Background()); err != nil {
		t.Fatal(err)
	}
	expected := map[int]wantGroup{}
	for _, g := range want.Groups {
		expected[g.Index] = g
	}
	total := 0
	for _, g := range f.Groups {
		if g.VLSD {
			continue
		}
		total += int(g.Cycles)
		w, ok := expected[g.Index]
		if !ok {
			if g.Cycles != 0 {
				t.Errorf("group %d has %d records, none expected", g.Index, g.Cycles)
			}
			continue
		}
		if g.AcqName != w.AcqName || int(g.Cycles) != w.Records {
			t.Errorf("group %d %q has %d records, want %q, %d", g.Index, g.AcqName, g.Cycles, w.AcqName, w.Records)
		}
		if w.Kind == "can" {
			checkFrames(t, g, w)
		} else {
			checkPhysical(t, g, w)
		}
	}
	if total != want.RecordsTotal {
		t.Errorf("%d records, want %d", total, want.RecordsTotal)
	}
}

func nanoseconds(s float64) int64 { return int64(math.Floor(float64(s*1e9) + 0.5)) }

// timeRange collects what reader.json says of the times of a group.
type timeRange struct {
	n                     int
	first, last, min, max int64
}

func (r *timeRange) add(times []float64) {
	for _, s := range times {
		ns := nanoseconds(s)
		if r.n == 0 {
			r.first, r.min, r.max = ns, ns, ns
		}
		r.n++
		r.last, r.min, r.max = ns, min(r.min, ns), max(r.max, ns)
	}
}

func (r *timeRange) check(t *testing.T, w wantGroup) {
	t.Helper()
	want := timeRange{w.Records, w.TFirst, w.TLast, w.TMin, w.TMax}
	if *r != want {
		t.Errorf("group %d: times %+v, want %+v", w.Index, *r, want)
	}
}

// checkFrames hashes each frame as time in ns (int64), bus (uint8), id (uint32), extended (uint8), length (uint8),
// payload; all little-endian: the recipe of reader.json.
func checkFrames(t *testing.T, g *mdf.ChannelGroup, w wantGroup) {
	r, err := g.Frames()
	if err != nil {
		t.Fatal(err)
	}
	h, times, payload := sha256.New(), timeRange{}, 0
	perBus, perID := map[string]int{}, map[string]int{}
	for {
		b, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		times.add(b.Times)
		payload += len(b.Data)
		for i := range b.N {
			hashFrame(h, b, i)
			perBus[fmt.Sprint(b.Bus[i])]++
			perID[fmt.Sprintf("%d:0x%X", b.Bus[i], b.ID[i])]++
		}
	}
	times.check(t, w)
	if got := hex.EncodeToString(h.Sum(nil)); got != w.SHA256 || payload != w.BytesPayload {
		t.Errorf("group %d: sha256 %s of %d bytes, want %s, %d", w.Index, got, payload, w.SHA256, w.BytesPayload)
	}
	if fmt.Sprint(perBus) != fmt.Sprint(w.FramesPerBus) || fmt.Sprint(perID) != fmt.Sprint(w.FramesPerID) {
		t.Errorf("group %d: frames %v %v, want %v %v", w.Index, perBus, perID, w.FramesPerBus, w.FramesPerID)
	}
}

func hashFrame(h hash.Hash, f *mdf.Frames, i int) {
	b := binary.LittleEndian.AppendUint64(nil, uint64(nanoseconds(f.Times[i])))
	b = append(b, f.Bus[i])
	b = binary.LittleEndian.AppendUint32(b, f.ID[i])
	ext := byte(0)
	if f.Extended[i] {
		ext = 1
	}
	b = append(b, ext, byte(len(f.Payload(i))))
	h.Write(append(b, f.Payload(i)...))
}

func checkPhysical(t *testing.T, g *mdf.ChannelGroup, w wantGroup) {
	var chans []*mdf.Channel
	for _, c := range g.Channels {
		if !c.IsMaster() {
			chans = append(chans, c)
		}
	}
	if len(chans) != len(w.Channels) {
		t.Fatalf("group %d has %d channels, want %d", g.Index, len(chans), len(w.Channels))
	}
	r, err := g.Read(mdf.ReadOptions{}, chans...)
	if err != nil {
		t.Fatal(err)
	}
	times, stats := timeRange{}, make([]wantChannel, len(chans))
	for {
		b, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		times.add(b.Times)
		for i := range b.Columns {
			stats[i].add(&b.Columns[i])
		}
	}
	times.check(t, w)
	for i, c := range chans {
		stats[i].Unit = c.Unit
		stats[i].check(t, c.Name, w.Channels[c.Name])
	}
}

func (s *wantChannel) add(c *mdf.Column) {
	for i, v := range c.Values {
		s.Count++
		if c.Valid != nil && !c.Valid[i] {
			continue
		}
		if s.Valid == 0 {
			s.First, s.Min, s.Max = v, v, v
		}
		s.Valid++
		s.Last, s.Min, s.Max = v, min(s.Min, v), max(s.Max, v)
		s.Mean += v
	}
}

func (s wantChannel) check(t *testing.T, name string, w wantChannel) {
	t.Helper()
	if s.Valid > 0 {
		s.Mean /= float64(s.Valid)
	}
	if math.Abs(s.Mean-w.Mean) <= 1e-12*math.Abs(w.Mean)+1e-15 {
		s.Mean = w.Mean
	}
	if s != w {
		t.Errorf("channel %s: %+v, want %+v", name, s, w)
	}
}
