package kill

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/e2e/internal/process"
	"github.com/milepost-dev/milepost/pipeline/engine"
)

// hung is when a process is given up and the test fails. No test waits for it, nor for any other time.
const hung = 10 * time.Minute

// milepost is the built binary.
var milepost string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "milepost-kill-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	milepost = filepath.Join(dir, "milepost")
	if err := process.Build(context.Background(), milepost, "github.com/milepost-dev/milepost/cmd/milepost"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// A program is a started binary of one test.
type program struct {
	*process.Process
	t *testing.T
}

// start runs a command in a folder.
func start(t *testing.T, dir, name string, args ...string) *program {
	t.Helper()
	return startTo(t, nil, dir, name, args...)
}

// startTo is start with a file for stdout; nil drops it.
func startTo(t *testing.T, stdout *os.File, dir, name string, args ...string) *program {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), hung)
	p, err := process.Start(ctx, process.Config{Dir: dir, Name: name, Args: args, Stdout: stdout})
	if err != nil {
		t.Fatal(err)
	}
	program := &program{p, t}
	t.Cleanup(func() { program.kill(); stop() })
	return program
}

// kill ends the process at once, by its pid, and waits for it. It may be called when it has ended.
func (p *program) kill() {
	if err := p.Kill(); err != nil {
		p.t.Error(err)
	}
}

// signal sends a signal to the process.
func (p *program) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait reads to the end, reaps the process and returns its exit code; -1 when a signal ended it.
func (p *program) wait() int {
	p.t.Helper()
	code, err := p.Wait()
	if err != nil {
		p.t.Error(err)
	}
	return code
}

// totals is the last line of --progress json.
func (p *program) totals() []engine.NodeStatus {
	p.t.Helper()
	nodes, err := p.Totals()
	if err != nil {
		p.t.Fatal(err)
	}
	return nodes
}

// reruns is how many inputs were taken again.
func (p *program) reruns() (n int64) {
	p.t.Helper()
	for _, s := range p.totals() {
		n += s.Reruns
	}
	return n
}
