package jetstream

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// childDir is set in a process that TestKilledServer starts to be killed.
const childDir = "MILEPOST_TEST_APPEND_TO"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := appendForever(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

var crashID = schemas.ChainID{Job: "j-crash", Stage: "s"}

func crashEvent(sequence uint64) transport.Record {
	e := schemas.Event{Chain: crashID, Sequence: sequence, Pipeline: "p", Type: "x.v1", Data: fmt.Appendf(make([]byte, 3000), "%d", sequence)}
	return transport.Record{Kind: transport.Out, Event: e}
}

func openCrash(ctx context.Context, b *Broker) (transport.Log, transport.Chain, transport.State, error) {
	log, err := b.Log(ctx, transport.LogConfig{Pipeline: "p", Stage: "s"})
	if err != nil {
		return nil, nil, transport.State{}, err
	}
	ch, state, err := log.Open(ctx, crashID)
	return log, ch, state, err
}

// write appends on from what the chain holds, a checkpoint after every seventh event, and tells after each answer how far
// it is, until told says no more.
func write(ctx context.Context, b *Broker, told func(sequence uint64) bool) error {
	log, ch, state, err := openCrash(ctx, b)
	if err != nil {
		return err
	}
	for n := state.Out + 1; ; n++ {
		if _, err := ch.Append(ctx, crashEvent(n)); err != nil {
			return err
		}
		if n%7 == 0 {
			if err := log.Commit(ctx, map[transport.Chain]transport.Checkpoint{ch: {Out: n}}); err != nil {
				return err
			}
		}
		if !told(n) {
			return nil
		}
	}
}

func appendForever(dir string) error {
	b, err := Embedded(context.Background(), EmbeddedConfig{Dir: dir})
	if err != nil {
		return err
	}
	return write(context.Background(), b, func(n uint64) bool {
		_, err := fmt.Println(n)
		return err == nil
	})
}

// holds fails the test unless the store holds the events up to a sequence at least, without a gap, and a checkpoint that
// is not older; it returns how far it goes.
func holds(t *testing.T, dir string, answered uint64) uint64 {
	t.Helper()
	b := openDir(t, dir, SyncAlways)
	defer b.Close()
	log, ch, state, err := openCrash(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if state.Out < answered {
		t.Fatalf("%d events were answered, %d are stored", answered, state.Out)
	}
	if c := state.Checkpoint; answered >= 7 && (c == nil || c.Out < (answered-1)/7*7 || c.Out%7 != 0) {
		t.Fatalf("%d events were answered, the checkpoint is %+v", answered, c)
	}
	r, err := log.Read(t.Context(), crashID, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for n := range state.Out {
		s, err := r.Next(t.Context())
		want := crashEvent(n + 1)
		if err != nil || s.Event.Hash() != want.Event.Hash() {
			t.Fatalf("event %d is %s (%v)", n+1, s.Event.ID(), err)
		}
	}
	if _, err := ch.Append(t.Context(), crashEvent(state.Out+1)); err != nil {
		t.Fatalf("the chain does not go on: %v", err)
	}
	return state.Out + 1
}

// TestKilledServer kills a process with its server inside by SIGKILL, several times over one store.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	dir, last := t.TempDir(), uint64(0)
	for round, appends := range []uint64{1, 2, 13, 60, 31} {
		answered := killAfter(t, dir, last+appends)
		last = holds(t, dir, answered)
		t.Logf("round %d: killed after %d, found %d", round, answered, last-1)
	}
}

// killAfter runs a writer until it has told of that sequence, kills it, and returns the last one it told of.
func killAfter(t *testing.T, dir string, sequence uint64) (answered uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	killed := false
	for lines.Scan() {
		if answered, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
		if answered >= sequence && !killed {
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); !killed || err == nil {
		t.Fatalf("the writer ended by itself after %d: %v", answered, err)
	}
	return answered
}

// TestCopiedStore copies the store file by file while appends go on, which is more than a crash may do to it: files are of
// different moments. What was answered before the copy began must be in it.
func TestCopiedStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := openDir(t, dir, SyncAlways)
	defer b.Close()
	var last atomic.Uint64
	rng := rand.New(rand.NewPCG(7, 7))
	for range 4 {
		at := last.Load() + 5 + rng.Uint64N(40)
		reached, stop, done := make(chan struct{}), make(chan struct{}), make(chan error)
		go func() {
			done <- write(t.Context(), b, func(n uint64) bool {
				last.Store(n)
				if n == at {
					close(reached)
				}
				select {
				case <-stop:
					return false
				default:
					return true
				}
			})
		}()
		<-reached
		answered, dup := last.Load(), t.TempDir()
		copyDir(t, dir, dup)
		close(stop)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		holds(t, dup, answered)
	}
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // a file of the moment
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		data, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}
