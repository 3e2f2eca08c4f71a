package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/cmd"
	"github.com/milepost-dev/milepost/stages"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// TestGeneratedFilesHoldWhatTheyShould checks the sums of generated files against the same table added up without a file.
func TestGeneratedFilesHoldWhatTheyShould(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]result{
		"A": {Channels: 151, Samples: 151 * 550}, "B": {Channels: 151, Samples: 151 * 550}, "C": {Channels: 151, Samples: 151 * 550},
		"D": {Channels: 20}, "E": {Channels: 123, Samples: 75 * (4*31 + 2*31 + 61)},
	} {
		if err := generate(dir, name, 0.001); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name+".mf4")
		args := []string{"inspect", "--decode-all", path}
		if name == "D" {
			args = append(args, "--dbc", filepath.Join(dir, "bench.dbc"))
		}
		var out, log bytes.Buffer
		if code := cmd.Run(context.Background(), stages.Standard(), args, strings.NewReader(""), &out, &log); code != 0 {
			t.Fatalf("%s: exit status %d\n%s", name, code, log.String())
		}
		var got result
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if name == "D" {
			want.Samples = got.Samples
		}
		if got.Channels != want.Channels || got.Samples != want.Samples || got.Samples == 0 {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if sum := readThrough(t, path); name != "D" && math.Abs(sum-got.Check) > 1e-9*math.Abs(sum) {
			t.Errorf("%s: check %v, the plain way gives %v", name, got.Check, sum)
		}
	}
}

// readThrough adds up all samples, read block after block.
func readThrough(t *testing.T, path string) (sum float64) {
	f, err := mdf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, g := range f.Groups {
		if g.HasFrames() {
			continue
		}
		r, err := g.Read(mdf.ReadOptions{}, g.Channels...)
		if err != nil {
			t.Fatal(err)
		}
		for {
			b, err := r.Next(context.Background())
			if err != nil {
				break
			}
			for _, c := range b.Columns {
				for _, v := range c.Values {
					sum += v
				}
			}
		}
	}
	return sum
}

func TestReadersHaveToAgree(t *testing.T) {
	a := measurement{file: "A", reader: "one", result: result{Channels: 2, Samples: 3, Check: 100}}
	b := a
	b.result.Check = 100.00000001
	if err := b.agrees(a); err != nil {
		t.Error(err)
	}
	b.result.Check = 100.001
	if b.agrees(a) == nil {
		t.Error("different sums pass")
	}
}

func TestReportGivesMediansAndRatios(t *testing.T) {
	var out bytes.Buffer
	seconds := func(x ...time.Duration) (d []time.Duration) {
		for _, s := range x {
			d = append(d, s*time.Second)
		}
		return d
	}
	err := report(&out, []measurement{
		{file: "A", reader: "milepost", ours: true, wall: seconds(9, 2, 1), cpu: seconds(3, 3, 3), peakRSS: 5e6},
		{file: "A", reader: "other", wall: seconds(3, 5, 100), cpu: seconds(1, 1, 1), peakRSS: 7e8}})
	if err != nil || !strings.Contains(out.String(), "| A | milepost | 2.00 | 1.00 | 3.00 | 5 | 1.0 |\n| A | other | 5.00 | 3.00 | 1.00 | 700 | 2.5 |\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
