package cmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// recording writes a file with a group of each list of times, under the names given.
func (l *line) recording(file string, names []string, times ...[]float64) string {
	l.t.Helper()
	w, err := mdf.Create(l.path(file), mdf.WriterOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	for i, list := range times {
		g, err := w.AddGroup(mdf.GroupSpec{AcqName: names[i], Channels: []mdf.ChannelSpec{{Name: "Speed", DataType: mdf.UintLE, Bits: 8}}})
		if err != nil {
			l.t.Fatal(err)
		}
		if err := g.Append(list, mdf.Samples{Uint: make([]uint64, len(list))}); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		l.t.Fatal(err)
	}
	return l.path(file)
}

// every is n times of a rate without those in which a record is missing.
func every(period float64, n int, without ...int) (times []float64) {
	for i := range n {
		if !slices.Contains(without, i) {
			times = append(times, float64(i)*period)
		}
	}
	return times
}

type inspected struct {
	Seconds *float64
	Groups  []struct {
		First  *float64 `json:"first_s"`
		Rate   *float64 `json:"rate_hz"`
		Counts string   `json:"master_counts"`
		Span   *struct {
			First, Last float64
			Unit        string
		} `json:"master_span"`
		Gaps []struct {
			From float64 `json:"from_s"`
			To   float64 `json:"to_s"`
		}
	}
}

func (l *line) inspect(args ...string) (v inspected) {
	l.t.Helper()
	if err := json.Unmarshal([]byte(l.with(l.t.Context(), 0, append([]string{"inspect", "-o", "json"}, args...)...)), &v); err != nil {
		l.t.Fatal(err)
	}
	return v
}

// A group is slow or it pauses: a period of its own is no gap, nor is what rounding adds to one of a tenth of a second.
func TestGapsAreThoseOfTheGroupsOwnRate(t *testing.T) {
	l := setup(t)
	file := l.recording("gaps.mf4", []string{"", "tenths", "fast", "few"}, every(1, 50, 30), every(0.1, 500, 300), every(0.01, 100, slices.Collect(seq(50, 70))...), every(2, 3))
	gaps := func(v inspected) (n []int) {
		for _, g := range v.Groups {
			n = append(n, len(g.Gaps))
		}
		return n
	}
	if got, want := gaps(l.inspect(file)), []int{1, 1, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("%v gaps, want %v", got, want)
	}
	if got, want := gaps(l.inspect(file, "--gap", "100ms")), []int{48, 1, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("%v gaps over 100 ms, want %v", got, want)
	}
	l.wants(l.with(t.Context(), 0, "inspect", file), "gap: group 0 29.000-31.000 s\n", "gap: tenths 29.900-30.100 s\n", "gap: fast 0.490-0.710 s\n", "0.98 Hz")
}

func seq(from, to int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := from; i <= to; i++ {
			if !yield(i) {
				return
			}
		}
	}
}

// What a master of angles counts is told as that, not in seconds and hertz.
func TestAMasterThatCountsNoTime(t *testing.T) {
	l := setup(t)
	file := l.recording("angle.mf4", []string{"crank", "clock"}, []float64{0, 0.5, 6}, []float64{1, 2})
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; ; at++ { // the sync type of the first master
		next := bytes.Index(data[at:], []byte("##CN"))
		if next < 0 {
			t.Fatal("no master")
		}
		if at += next; data[at+24+8*8] == 2 {
			data[at+24+8*8+1] = 2
			break
		}
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	v := l.inspect(file)
	if g := v.Groups[0]; g.Counts != "angle" || g.Span == nil || g.Span.Last != 6 || g.First != nil || g.Rate != nil || g.Gaps != nil {
		t.Errorf("%+v", g)
	}
	if v.Seconds == nil || *v.Seconds != 1 || *v.Groups[1].First != 1 {
		t.Errorf("%+v", v)
	}
	text := l.with(t.Context(), 0, "inspect", file)
	l.wants(text, "(angle 0 to 6", "   0:01 min   ")
	if strings.Contains(text, "gap:") {
		t.Error(text)
	}
}

// Times that no recording has are told as they are.
func TestTimesBeyondAnyRecording(t *testing.T) {
	l := setup(t)
	long := l.recording("long.mf4", []string{"g"}, []float64{0, 1e10, 2e10, 9e10})
	l.wants(l.with(t.Context(), 0, "inspect", long), "   9e+10 s   ", "gap: g 2e+10-9e+10 s", "3.3e-11 Hz")
	endless := l.recording("endless.mf4", []string{"g"}, []float64{-1.7e308, 1.7e308})
	if v := l.inspect(endless); v.Seconds != nil || *v.Groups[0].First != -1.7e308 || v.Groups[0].Rate != nil {
		t.Errorf("%+v", v)
	}
	l.wants(l.with(t.Context(), 0, "inspect", endless), "   endless   ")
	l.inspect(l.recording("odd.mf4", []string{"g"}, []float64{math.NaN(), math.Inf(1), 1, 1}))
	l.wants(l.with(t.Context(), 0, "inspect", l.recording("hours.mf4", []string{"g"}, []float64{0, 7384})), "   2:03:04 h   ")
}

func TestInspectRefusesFlagsThatItWouldIgnore(t *testing.T) {
	l := setup(t)
	file := l.recording("a.mf4", []string{"g"}, every(0.1, 5))
	for args, want := range map[string]string{
		"-o xml": "-o xml: want", "--gap -1s": "--gap -1s: want a duration above 0", "--gap 0s": "--gap 0s: want a duration above 0",
		"--digest --decode-all": "--digest and --decode-all: want one of them", "--digest --blocks": "--digest and --blocks: want one of them",
		"--decode-all --channels x": "--decode-all and --channels", "--decode-all --gap 1s": "--decode-all and --gap", "--digest -o yaml": "--digest and -o yaml",
	} {
		l.with(t.Context(), 2, append([]string{"inspect", file}, strings.Fields(args)...)...)
		l.wants(l.stderr.String(), want)
	}
	l.with(t.Context(), 0, "inspect", file, "--digest", "-o", "json")
	l.with(t.Context(), 0, "inspect", file, "--channels", "Sped*")
	l.wants(l.stderr.String(), `a.mf4: no channel matches --channels "Sped*"; close names: Speed [W-channel]`)
	l.with(t.Context(), 0, "inspect", file, "--channels", "Sp*")
	if l.stderr.Len() > 0 {
		t.Error(l.stderr.String())
	}
}

// frames writes bus logging: two buses with an id of either length.
func (l *line) frames(file string) string {
	l.t.Helper()
	w, err := mdf.Create(l.path(file), mdf.WriterOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	g, err := w.AddFrames(mdf.FrameSpec{})
	for i := range uint8(3) {
		err = errors.Join(err, g.Append(mdf.Frame{Time: float64(i), Bus: i % 2, ID: 100, Data: make([]byte, 8)}),
			g.Append(mdf.Frame{Time: float64(i), Bus: i % 2, ID: 100, Extended: true, Data: make([]byte, 8)}),
			g.Append(mdf.Frame{Time: float64(i), Bus: 1, ID: 101, Extended: true}))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		l.t.Fatal(err)
	}
	return l.path(file)
}

// Every bus has its line, and what of a message cannot be decoded is told by signal and line.
func TestInspectTellsBusesApartAndWhatCannotBeDecoded(t *testing.T) {
	l := setup(t)
	file := l.frames("bus.mf4")
	l.write("wide.dbc", "BO_ 100 X: 8 E\n SG_ good : 0|8@1+ (1,0) [0|0] \"\" E\n SG_ wide : 0|65@1+ (1,0) [0|0] \"\" E\nBO_ 102 Y: 8 E\n SG_ wide : 0|65@1+ (1,0) [0|0] \"\" E\n")
	text := l.with(t.Context(), 0, "inspect", file, "--dbc", l.path("wide.dbc"))
	l.wants(text, "0    0x64  X        2 ", "1    0x64  X        1 ", "3 ids without a message: 0x64 (extended) on bus 0, 0x64 (extended) on bus 1, 0x65 (extended) on bus 1\n")
	for _, flag := range []string{"--blocks", "--decode-all", "--digest"} {
		l.with(t.Context(), 0, "inspect", file, "--dbc", l.path("wide.dbc"), flag)
		l.wants(l.stderr.String(), "wide.dbc:3: signal wide of message X never has a value: it is of 65 bits, and a number has 1 to 64 [W-dbc]")
		if strings.Contains(l.stderr.String(), "message Y") {
			t.Errorf("a message that the recording does not have: %s", l.stderr.String())
		}
	}
	var v struct {
		Bus []struct {
			Bus *int
			ID  int
		}
	}
	if err := json.Unmarshal([]byte(l.with(t.Context(), 0, "inspect", file, "--dbc", l.path("wide.dbc"), "-o", "json")), &v); err != nil || len(v.Bus) != 5 || v.Bus[0].Bus == nil || *v.Bus[0].Bus != 0 {
		t.Errorf("%+v, %v", v, err)
	}
}
