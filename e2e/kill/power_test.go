//go:build e2e

package kill

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/milepost-dev/milepost/e2e/internal/results"
)

// freeze stops a process, copies a folder, and lets it go on: what a disk that has everything would hold at that moment.
func (p *program) freeze(dir, to string) {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	for { // it stops when it is scheduled next
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
		if err != nil {
			p.t.Fatal(err)
		}
		if _, state, _ := bytes.Cut(stat, []byte(") ")); state[0] == 'T' {
			break
		}
	}
	err := os.CopyFS(to, os.DirFS(dir))
	p.signal(syscall.SIGCONT)
	if err != nil {
		p.t.Fatal(err)
	}
}

// resume runs the plan on what a power cut left, until it ends by itself.
func (p plan) resume(t *testing.T, dir string, want results.Results) (said string) {
	t.Helper()
	run := p.start(t, dir)
	if code := run.wait(); code != 0 {
		t.Errorf("the run ended with %d:\n%s", code, run.Tail())
	}
	for _, d := range p.collect(t, dir).Diff(want) {
		t.Error(d)
	}
	return strings.Join(run.Lines(), "\n")
}

// TestPowerCutWithSyncAlways copies all that is written through at drawn moments and goes on from the copy. It holds what was
// answered, so nothing is said to be lost.
func TestPowerCutWithSyncAlways(t *testing.T) {
	p := samples()
	p.yaml = strings.ReplaceAll(p.yaml, "sync: 1h", "sync: always")
	want, total := p.undisturbed(t)
	for _, at := range points(t, total, 2)[2:] {
		dir, cut := p.folder(t), filepath.Join(t.TempDir(), "cut")
		run := p.start(t, dir)
		reached, _ := run.Appends(at)
		run.freeze(dir, cut)
		run.kill()
		if said := p.resume(t, cut, want); strings.Contains(said, "lost events") {
			t.Errorf("at %d of %d appends something was lost with sync: always:\n%s", reached, total, said)
		}
	}
}

// TestPowerCutWithoutSync lets each stream forget what was written between two moments, or not, as a disk may that writes files
// through in an order of its own; sinks, which always write through, forget nothing. The run has to say that it lost something,
// and to come to the same results.
func TestPowerCutWithoutSync(t *testing.T) {
	p := samples()
	want, total := p.undisturbed(t)
	told := 0
	seed := rand.Uint64()
	draw := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for range 5 {
		first := 1 + draw.Int64N(total/2)
		second := first + 1 + draw.Int64N(total/4)
		dir, copies := p.folder(t), t.TempDir()
		early, late := filepath.Join(copies, "early"), filepath.Join(copies, "late")
		run := p.start(t, dir)
		run.Appends(first)
		run.freeze(dir, early)
		run.Appends(second)
		run.freeze(dir, late)
		run.kill()
		forgot := forget(t, early, late, draw)
		said := p.resume(t, late, want)
		n := strings.Count(said, "lost events")
		t.Logf("cut between %d and %d of %d appends, %d streams forgot: %d losses told", first, second, total, forgot, n)
		told += n
	}
	if told == 0 {
		t.Error("nothing was said to be lost: this test is blind, or the run is silent")
	}
}

// forget puts the early state of drawn streams in the place of the late one.
func forget(t *testing.T, early, late string, draw *rand.Rand) (n int) {
	t.Helper()
	const streams = "state/jetstream/jetstream/$G/streams"
	entries, err := os.ReadDir(filepath.Join(late, streams))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if draw.IntN(2) == 0 {
			continue
		}
		to, from := filepath.Join(late, streams, e.Name()), filepath.Join(early, streams, e.Name())
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(from); err == nil {
			if err := os.CopyFS(to, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
		}
		n++
	}
	return n
}
