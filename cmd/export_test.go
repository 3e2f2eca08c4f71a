package cmd_test

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

const drive = "../samples/sim_full_braking.mf4"

func TestExportOfAnExcerpt(t *testing.T) {
	l := setup(t)
	out := l.path("excerpt.mf4")
	l.with(t.Context(), 0, "export", drive, "-o", out, "--from", "2s", "--to", "3s", "--channels", "WheelSpeed_F*")
	f, err := mdf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(f.Groups) != 1 || len(f.Groups[0].Channels) != 3 {
		t.Fatalf("%d groups", len(f.Groups))
	}
	r, err := f.Groups[0].Read(mdf.ReadOptions{}, f.Groups[0].Channels...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := r.Next(t.Context())
	if err != nil || b.Times[0] < 2 || b.Times[b.N-1] >= 3 || uint64(b.N) != f.Groups[0].Cycles {
		t.Errorf("%d of %d records from %v, %v", b.N, f.Groups[0].Cycles, b.Times[0], err)
	}
}

func TestExportOfAllIsTheSame(t *testing.T) {
	l := setup(t)
	out := l.path("all.mf4")
	l.with(t.Context(), 0, "export", drive, "-o", out)
	decoded := func(file string) (line struct {
		Channels, Samples int
		Check             float64
	}) {
		if err := json.Unmarshal([]byte(l.with(t.Context(), 0, "inspect", "--decode-all", file)), &line); err != nil {
			t.Fatal(err)
		}
		return line
	}
	if a, b := decoded(drive), decoded(out); a != b || a.Samples == 0 {
		t.Errorf("%+v became %+v", a, b)
	}
}

func TestExportOfATable(t *testing.T) {
	l := setup(t)
	l.with(t.Context(), 0, "export", drive, "-o", l.path("speed.csv"), "--channels", "WheelSpeed_FL", "--to", "100ms")
	lines := strings.Split(strings.TrimSpace(l.read("speed.csv")), "\n")
	if len(lines) < 3 || !strings.Contains(lines[0], "WheelSpeed_FL [") || len(strings.Split(lines[1], ",")) != 2 {
		t.Errorf("%q", lines)
	}
}

func TestExportRefusesWhatCannotBeMeant(t *testing.T) {
	l := setup(t)
	for _, args := range [][]string{{}, {"-o", "a.xls"}, {"-o", "a.mf4", "--from", "3s", "--to", "2s"}, {"-o", "a.mf4", "--channels", "["},
		{"-o", drive}, {"-o", l.path("a.mf4"), "--channels", "nothing"}} {
		l.with(t.Context(), 2, append([]string{"export", drive}, args...)...)
	}
	l.with(t.Context(), 1, "export", drive, "-o", l.path("a.csv"))
	l.wants(l.stderr.String(), "a table has the channels of one group")
	if left, _ := filepath.Glob(l.path("*a.*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestFinalizeOfACutRecording(t *testing.T) {
	l := setup(t)
	l.with(t.Context(), 1, "finalize", drive, "-o", l.path("copy.mf4"))
	l.wants(l.stderr.String(), "finalized already")
	data, err := os.ReadFile(drive)
	if err != nil {
		t.Fatal(err)
	}
	copy(data, "UnFinMF ")
	binary.LittleEndian.PutUint16(data[60:], 1) // counts of records
	if err := os.WriteFile(l.path("cut.mf4"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	l.with(t.Context(), 0, "finalize", l.path("cut.mf4"), "-o", l.path("copy.mf4"))
	f, err := mdf.Open(l.path("copy.mf4"))
	if err != nil || !f.Finalized || f.Groups[0].Cycles == 0 {
		t.Fatalf("%+v, %v", f, err)
	}
	f.Close()
	l.with(t.Context(), 2, "finalize", l.path("cut.mf4"), "-o", l.path("cut.mf4"))
	l.with(t.Context(), 2, "finalize", l.path("cut.mf4"))
}

// What a pipeline makes of a recording comes out as a file with the signals of its stages, which is the same each time, and with the
// result that a run stores.
func TestExportOfResults(t *testing.T) {
	l := setup(t)
	l.run(0, "export", drive, "-o", l.path("results.mf4"), "--pipeline", "aeb")
	l.run(0, "export", filepath.Base(drive), "-o", l.path("again.mf4"), "--pipeline", "aeb")
	if l.read("results.mf4") != l.read("again.mf4") {
		t.Error("the results of one recording differ")
	}
	l.absent("out")
	l.absent("state")
	f, err := mdf.Open(l.path("results.mf4"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tick := f.Group("aeb/tick")
	if tick == nil || f.Group("read/ego") == nil || tick.Cycles < 100 || tick.Channel("ttc", 0) == nil {
		t.Fatalf("groups %+v", f.Groups)
	}
	all, err := f.Attachments()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(a mdf.Attachment) bool { return a.Name == "kpi.aeb.kpi.v1.json" })
	if i < 0 {
		t.Fatalf("attachments %+v", all)
	}
	r, err := all[i].Open()
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.NewDecoder(r).Decode(&got); err != nil {
		t.Fatal(err)
	}
	l.run(0, "run", "--exit", "--progress", "none")
	if err := json.Unmarshal([]byte(l.read("out/sim_full_braking.json")), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("result %v, a run stores %v", got, want)
	}
}

func TestExportOfResultsRefuses(t *testing.T) {
	l := setup(t)
	l.run(2, "export", drive, "-o", l.path("a.mf4"), "--pipeline", "abe")
	l.wants(l.stderr.String(), "no pipeline")
	l.run(2, "export", "nowhere.mf4", "-o", l.path("a.mf4"), "--pipeline", "aeb")
	l.wants(l.stderr.String(), "is none of the")
	l.absent("a.mf4")
}
