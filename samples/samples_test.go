package samples_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
	"github.com/milepost-dev/milepost/stages/reader/mf4"
)

const maxBytes = 3 << 20 // of all recordings together: everyone who clones the repository pays for them

func TestGeneratorWritesTheSameBytes(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "run", "./generate", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(made) == 0 {
		t.Fatalf("generated %v, %v", made, err)
	}
	kept, _ := filepath.Glob("*.mf4")
	if len(kept) != len(made) {
		t.Errorf("%d recordings are kept, %d are generated", len(kept), len(made))
	}
	total := 0
	for _, file := range made {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Base(file))
		if err != nil {
			t.Fatal(err)
		}
		if total += len(got); !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator writes; run `go generate ./samples`", filepath.Base(file))
		}
	}
	if total > maxBytes {
		t.Errorf("recordings have %d bytes together, at most %d are wanted", total, maxBytes)
	}
}

func config() mf4.Config {
	cfg := mf4.Defaults
	cfg.Paths, cfg.Bindings = pipeline.Strings{"*.mf4"}, "signals.yaml"
	return cfg
}

func list(t *testing.T) []pipeline.Item {
	t.Helper()
	cfg := config()
	parts, err := mf4.Type.Assemble(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	items, err := parts.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if warnings := cfg.Warnings(); len(warnings) > 0 {
		t.Errorf("warnings: %v", warnings)
	}
	return items
}

func TestEverySampleIsBoundAndReadableAtAnyCut(t *testing.T) {
	for _, it := range list(t) {
		t.Run(it.Name, func(t *testing.T) {
			f, err := mdf.Open(it.URL)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix([]byte(f.Comment), []byte("SIMULATED. ")) {
				t.Errorf("header comment %q does not say that it is simulated", f.Comment)
			}
			f.Close()
			pipelinetest.TestReader(t, mf4.Type, config(), it)
		})
	}
}

// TestSignalsArePlausible looks at the ranges of all signals: speeds of a car, objects in front of it, no faults.
func TestSignalsArePlausible(t *testing.T) {
	limits := map[string][2]float64{schemas.ColSpeed: {0, 25}, schemas.ColYawRate: {-0.5, 0.5}, schemas.ColBrakeOn: {0, 1}, schemas.ColLongDist: {0, 160},
		schemas.ColLatDist: {-10, 45}, schemas.ColRelSpeed: {-40, 20}, schemas.ColValid: {0, 1}, schemas.ColNew: {0, 1},
		"long_accel": {-8, 3}, "steering_angle": {-50, 50}}
	for _, it := range list(t) {
		for _, b := range pipelinetest.ReadAll(t, mf4.Type, config(), it) {
			for _, table := range b.Tables {
				if _, faults := schemas.FaultsOf(table.Name); faults {
					t.Fatalf("%s has faults: %v", it.Name, table)
				}
				for _, name := range table.Signals() {
					checkRange(t, it.Name, name, table.Float64(name), limits)
				}
			}
		}
	}
}

func checkRange(t *testing.T, recording, name string, values []float64, limits map[string][2]float64) {
	t.Helper()
	limit, ok := limits[name]
	if !ok {
		t.Fatalf("%s has signal %s, which has no limits here", recording, name)
	}
	for _, v := range values {
		if v < limit[0] || v > limit[1] { // NaN, where the radar has no object, is neither
			t.Fatalf("%s: %s is %v", recording, name, v)
		}
	}
}
