//go:build e2e

package kill

import (
	"cmp"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

// roadlogs is the plan over the shared recordings.
func roadlogs(t *testing.T) plan {
	t.Helper()
	dir := cmp.Or(os.Getenv("ROADLOGS"), filepath.Join("..", "..", "..", "shared", "roadlogs"))
	data, err := os.ReadFile(filepath.Join(dir, "signals.json"))
	if err != nil {
		t.Fatalf("the recordings are missing, set ROADLOGS: %v", err)
	}
	var bindings struct{ Logs map[string]json.RawMessage }
	if err := json.Unmarshal(data, &bindings); err != nil {
		t.Fatal(err)
	}
	return newPlan(filepath.Join(dir, "*.mf4"), filepath.Join(dir, "signals.json"), "10s", len(bindings.Logs))
}

var kills = flag.Int("kills", 18, "drawn `counts` of stored records at which a run of the shared recordings is killed")

func TestKilledRunsOfTheRoadlogsComeOutTheSame(t *testing.T) { roadlogs(t).survives(t, *kills) }

func TestTheNaiveModeDiffersOnTheRoadlogs(t *testing.T) { roadlogs(t).tells(t, 8) }
