// Package process starts built binaries for the tests that attack them from outside, reads what they say line by line, and ends
// them by their pid.
package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"github.com/milepost-dev/milepost/pipeline/engine"
)

// Build builds a package's binary; flags go before the package, such as -overlay.
func Build(ctx context.Context, binary, pkg string, flags ...string) error {
	args := append(append([]string{"build", "-o", binary}, flags...), pkg)
	out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// A Config says what to start.
type Config struct {
	Dir, Name string
	Args      []string
	Env       []string // added to this process's own
	Stdout    *os.File // nil drops it
	Wide      bool     // an ordinary pipe for stderr, where nobody waits for a certain line
}

// A Process is a started binary whose stderr is read line by line. One goroutine reads it; any may signal it.
type Process struct {
	Cmd     *exec.Cmd
	pipe    *os.File
	rest    []byte        // read and not yet handed out
	drained chan struct{} // closed when Drain has read to the end; nil without it

	mu    sync.Mutex
	lines []string
	over  bool
}

// Start runs a command; it is killed when ctx ends.
func Start(ctx context.Context, c Config) (*Process, error) {
	pipe := narrowPipe
	if c.Wide {
		pipe = os.Pipe
	}
	r, w, err := pipe()
	if err != nil {
		return nil, err
	}
	p := &Process{Cmd: exec.CommandContext(ctx, c.Name, c.Args...), pipe: r}
	p.Cmd.Dir, p.Cmd.Stderr = c.Dir, w
	if len(c.Env) > 0 {
		p.Cmd.Env = append(os.Environ(), c.Env...)
	}
	if c.Stdout != nil {
		p.Cmd.Stdout = c.Stdout
	}
	err = p.Cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	return p, nil
}

// Pid is the process's.
func (p *Process) Pid() int { return p.Cmd.Process.Pid }

// Next reads one line of stderr; false at its end.
func (p *Process) Next() (string, bool) {
	for {
		if k := bytes.IndexByte(p.rest, '\n'); k >= 0 {
			line := string(p.rest[:k])
			p.rest = p.rest[k+1:]
			if !strings.HasPrefix(line, `{"appends"`) {
				p.mu.Lock()
				p.lines = append(p.lines, line)
				p.mu.Unlock()
			}
			return line, true
		}
		buf := make([]byte, 64<<10) // more than a packet: what does not fit is lost
		n, err := p.pipe.Read(buf)
		p.rest = append(p.rest, buf[:n]...)
		if err != nil {
			return "", false
		}
	}
}

// Until reads lines until one is wanted; false when there is none.
func (p *Process) Until(wanted func(line string) bool) bool {
	for {
		line, ok := p.Next()
		if !ok || wanted(line) {
			return ok
		}
	}
}

// Contains makes a condition for Until.
func Contains(text string) func(string) bool {
	return func(line string) bool { return strings.Contains(line, text) }
}

// Drain reads to the end on a goroutine of its own: for a process that nobody listens to until it ends.
func (p *Process) Drain() {
	p.drained = make(chan struct{})
	go func() {
		defer close(p.drained)
		p.Until(func(string) bool { return false })
	}()
}

// Appends reads until so many appends were stored. reached is the highest count that was read; ok is false when the process
// ended before.
func (p *Process) Appends(at int64) (reached int64, ok bool) {
	ok = p.Until(func(line string) bool {
		var l struct{ Appends int64 }
		if strings.HasPrefix(line, `{"appends"`) && json.Unmarshal([]byte(line), &l) == nil {
			reached = max(reached, l.Appends)
		}
		return at > 0 && reached >= at
	})
	return reached, ok
}

// Signal sends a signal to the process; to one that was waited for it is nothing.
func (p *Process) Signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return nil
	}
	if err := syscall.Kill(p.Pid(), s); err != nil {
		return fmt.Errorf("signal %s to %d: %w", s, p.Pid(), err)
	}
	return nil
}

// Kill ends the process at once and waits for it. It may be called when it has ended.
func (p *Process) Kill() error {
	err := p.Signal(syscall.SIGKILL)
	_, ended := p.Wait()
	return errors.Join(err, ended)
}

// Wait reads to the end, reaps the process and returns its exit code; -1 when a signal ended it.
func (p *Process) Wait() (code int, err error) {
	if p.Over() {
		return p.Cmd.ProcessState.ExitCode(), nil
	}
	if p.drained != nil {
		<-p.drained
	}
	p.Until(func(string) bool { return false })
	return p.Reap()
}

// Reap is Wait without reading: for a process that is to have nobody who listens.
func (p *Process) Reap() (code int, err error) {
	err = p.Cmd.Wait()
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	p.pipe.Close()
	if errors.As(err, new(*exec.ExitError)) {
		err = nil
	}
	return p.Cmd.ProcessState.ExitCode(), err
}

// Over says whether the process was waited for.
func (p *Process) Over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

// Ended says whether the process has ended, whoever knows: it was waited for, or nothing more comes from it.
func (p *Process) Ended() bool {
	if p.drained == nil {
		return p.Over()
	}
	select {
	case <-p.drained:
		return true
	default:
		return p.Over()
	}
}

// Lines is all that the process said, counts of appends left out.
func (p *Process) Lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
}

// Tail is the last of it.
func (p *Process) Tail() string {
	lines := p.Lines()
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}

// Totals reads the last line of --progress json from what was read.
func (p *Process) Totals() (nodes []engine.NodeStatus, err error) {
	for _, line := range p.Lines() {
		var l struct{ Totals []engine.NodeStatus }
		if strings.HasPrefix(line, `{"totals"`) {
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				return nil, err
			}
			nodes = l.Totals
		}
	}
	if nodes == nil {
		return nil, fmt.Errorf("no totals in\n%s", p.Tail())
	}
	return nodes, nil
}

// FreeAddress is one on loopback where nobody listens.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
