package kill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline/engine"
)

// hung is when a process is given up and the test fails. No test waits for it, nor for any other time.
const hung = 2 * time.Minute

// milepost is the built binary.
var milepost string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "milepost-kill-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	milepost = filepath.Join(dir, "milepost")
	out, err := exec.Command("go", "build", "-o", milepost, "github.com/milepost-dev/milepost/cmd/milepost").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "build the binary: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// A process is a started binary whose stderr is read line by line.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	pipe  *os.File
	stop  context.CancelFunc
	rest  []byte // read and not yet handed out
	lines []string
	over  bool

	drained chan struct{} // closed when drain has read to the end; nil without it
}

// start runs a command in a folder.
func start(t *testing.T, dir, name string, args ...string) *process {
	t.Helper()
	return startTo(t, nil, dir, name, args...)
}

// startTo is start with a file for stdout; nil drops it.
func startTo(t *testing.T, stdout *os.File, dir, name string, args ...string) *process {
	t.Helper()
	r, w, err := narrowPipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), hung)
	p := &process{t: t, cmd: exec.CommandContext(ctx, name, args...), pipe: r, stop: stop}
	p.cmd.Dir, p.cmd.Stderr = dir, w
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// next reads one line of stderr; false at its end.
func (p *process) next() (string, bool) {
	for {
		if k := bytes.IndexByte(p.rest, '\n'); k >= 0 {
			line := string(p.rest[:k])
			p.rest = p.rest[k+1:]
			if !strings.HasPrefix(line, `{"appends"`) {
				p.lines = append(p.lines, line)
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

// until reads lines until one is wanted; false when there is none.
func (p *process) until(wanted func(line string) bool) bool {
	for {
		line, ok := p.next()
		if !ok || wanted(line) {
			return ok
		}
	}
}

// appends reads until so many appends were stored. reached is the highest count that was read; ok is false when the process
// ended before.
func (p *process) appends(at int64) (reached int64, ok bool) {
	ok = p.until(func(line string) bool {
		var l struct{ Appends int64 }
		if strings.HasPrefix(line, `{"appends"`) && json.Unmarshal([]byte(line), &l) == nil {
			reached = max(reached, l.Appends)
		}
		return at > 0 && reached >= at
	})
	return reached, ok
}

// kill ends the process at once, by its pid, and waits for it. It may be called when it has ended.
func (p *process) kill() {
	if p.over {
		return
	}
	if err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		p.t.Errorf("kill %d: %v", p.cmd.Process.Pid, err)
	}
	p.wait()
}

// signal sends a signal to the process.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(p.cmd.Process.Pid, s); err != nil {
		p.t.Fatalf("signal %s to %d: %v", s, p.cmd.Process.Pid, err)
	}
}

// wait reads to the end, reaps the process and returns its exit code; -1 when a signal ended it.
func (p *process) wait() int {
	p.t.Helper()
	if p.over {
		return p.cmd.ProcessState.ExitCode()
	}
	if p.drained != nil {
		<-p.drained
	}
	p.until(func(string) bool { return false })
	err := p.cmd.Wait()
	p.over = true
	p.pipe.Close()
	p.stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Errorf("%v", err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// tail is the last of what the process said, counts of appends left out.
func (p *process) tail() string {
	return strings.Join(p.lines[max(0, len(p.lines)-25):], "\n")
}

// totals reads the last line of --progress json from what was read.
func (p *process) totals() (nodes []engine.NodeStatus) {
	p.t.Helper()
	for _, line := range p.lines {
		var l struct{ Totals []engine.NodeStatus }
		if strings.HasPrefix(line, `{"totals"`) {
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				p.t.Fatal(err)
			}
			nodes = l.Totals
		}
	}
	if nodes == nil {
		p.t.Fatalf("no totals in\n%s", p.tail())
	}
	return nodes
}

// reruns is how many inputs were taken again.
func (p *process) reruns() (n int64) {
	p.t.Helper()
	for _, s := range p.totals() {
		n += s.Reruns
	}
	return n
}
