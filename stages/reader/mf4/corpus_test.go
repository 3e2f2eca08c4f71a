//go:build corpus

package mf4

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
)

// roadlogs is the folder of the given recordings: $ROADLOGS, or ../shared/roadlogs beside the module.
func roadlogs(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("ROADLOGS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "roadlogs")
	}
	if _, err := os.Stat(filepath.Join(dir, "signals.json")); err != nil {
		t.Fatalf("ROADLOGS does not name the folder of the road logs: %v", err)
	}
	return dir
}

type inputSamples struct {
	Ego    int            `json:"ego"`
	Yaw    int            `json:"yaw"`
	Brake  int            `json:"brake"`
	Tracks map[string]int `json:"tracks"`
}

// TestCorpusSampleCounts compares the rows of every stream of every bound recording with the expected numbers.
func TestCorpusSampleCounts(t *testing.T) {
	dir := roadlogs(t)
	cfg := Defaults
	cfg.Paths = []string{filepath.Join(dir, "*.mf4")}
	cfg.Bindings = filepath.Join(dir, "signals.json")
	items, openItem := build(t, cfg)
	expected, err := filepath.Glob(filepath.Join(dir, "expected", "*.json"))
	if err != nil || len(items) != len(expected)-2 { // fleet.json and reader.json
		t.Fatalf("%d recordings, %d expected files, %v", len(items), len(expected), err)
	}
	for _, it := range items {
		t.Run(it.Name, func(t *testing.T) {
			want := expectedSamples(t, dir, it.Name)
			got := inputSamples{Tracks: map[string]int{}}
			began := time.Now()
			batches := 0
			for b := range readAll(t, openItem, it) {
				batches++
				count(&got, b)
			}
			for slot := range want.Tracks {
				if got.Tracks[slot] != want.Tracks[slot] {
					t.Errorf("track %s has %d rows, want %d", slot, got.Tracks[slot], want.Tracks[slot])
				}
			}
			if got.Ego != want.Ego || got.Yaw != want.Yaw || got.Brake != want.Brake || len(got.Tracks) > len(want.Tracks) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			t.Logf("%d batches in %v", batches, time.Since(began))
		})
	}
}

func expectedSamples(t *testing.T, dir, name string) inputSamples {
	t.Helper()
	stem := strings.TrimSuffix(name, filepath.Ext(name))
	text, err := os.ReadFile(filepath.Join(dir, "expected", stem+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Input inputSamples `json:"input_samples"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Input
}

func count(n *inputSamples, b pipeline.Batch) {
	for _, table := range b.Tables {
		switch table.Name {
		case schemas.TableEgo:
			n.Ego += table.Rows()
		case schemas.TableYaw:
			n.Yaw += table.Rows()
		case schemas.TableBrake:
			n.Brake += table.Rows()
		}
		if slot, ok := strings.CutPrefix(table.Name, "track"); ok {
			i, _ := strconv.Atoi(slot)
			n.Tracks[strconv.Itoa(i)] += table.Rows()
		}
	}
}

// readAll yields the batches of a recording.
func readAll(t *testing.T, openItem pipeline.Open[pipeline.Reader], it pipeline.Item) func(func(pipeline.Batch) bool) {
	return func(yield func(pipeline.Batch) bool) {
		t.Helper()
		r, err := openItem(context.Background(), it)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for {
			b, err := r.Read(context.Background())
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !yield(b) {
				return
			}
		}
	}
}

// TestCorpusSuite cuts recordings of every layout at every batch.
func TestCorpusSuite(t *testing.T) {
	dir := roadlogs(t)
	for _, name := range []string{"real_canedge_unfin.MF4", "real_canedge_obd2.MF4", "real_rav4_can.mf4", "real_rav4_signals.mf4",
		"real_zala_f22.mf4", "sim_ccrs_50.mf4"} {
		for how, change := range map[string]func(*Config){
			"native": func(*Config) {}, "short": func(c *Config) { c.SliceMax = 10 * time.Second }, "small": func(c *Config) { c.SliceBytes = 64 << 10 },
			"raster": func(c *Config) { c.Raster = 10 * time.Millisecond }, "paced": func(c *Config) { c.Speed = "5x" },
			"part": func(c *Config) { c.From, c.To, c.ReorderWindow = 3*time.Second, 700*time.Second, 0 },
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				cfg := Defaults
				cfg.Paths = []string{filepath.Join(dir, name)}
				cfg.Bindings = filepath.Join(dir, "signals.json")
				change(&cfg)
				items, _ := build(t, cfg)
				pipelinetest.TestReader(t, Type, cfg, items[0])
			})
		}
	}
}
