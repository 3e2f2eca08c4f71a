package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/milepost-dev/milepost/e2e/internal/process"
	"github.com/milepost-dev/milepost/transport/history"
)

// A crew is the processes that work on a round's pipelines: the owner of the jobs, which ends when all are over, and workers. One
// that dies is started again, as whoever runs them would do it.
type crew struct {
	dir     string
	tools   tools
	members []*member
	done    chan struct{} // closed when the owner has ended by itself
	code    int           // its exit code

	mu     sync.Mutex
	deaths []death
	frozen int // processes that were frozen for longer than the ack wait, and thawed
	stop   bool
}

// A death is one process that was killed, by the harness or by an input.
type death struct {
	who  string // the name of its history
	at   time.Duration
	self bool // by an input
}

// A member is one of them, whichever process it is at the time.
type member struct {
	crew  *crew
	name  string
	args  []string
	owner bool

	mu      sync.Mutex
	process *process.Process
	life    int // number of processes so far
	killed  bool
	tails   []string
}

// newCrew starts the owner and workers.
func newCrew(ctx context.Context, t tools, dir string, workers int, flags ...string) (*crew, error) {
	c := &crew{dir: dir, tools: t, done: make(chan struct{})}
	if err := os.MkdirAll(filepath.Join(dir, "history"), 0o755); err != nil {
		return nil, err
	}
	run := append([]string{"run", "-f", pipelinesFile, "--state", "state", "--exit", "--progress", "plain", "--listen", "127.0.0.1:0"}, flags...)
	c.members = append(c.members, &member{crew: c, name: "owner", owner: true, args: run})
	for k := range workers {
		c.members = append(c.members, &member{crew: c, name: fmt.Sprintf("worker%d", k+1), args: append([]string{"worker", "-f", pipelinesFile}, flags...)})
	}
	for _, m := range c.members {
		go m.live(ctx)
	}
	return c, nil
}

// live runs one process after another until the round is over.
func (m *member) live(ctx context.Context) {
	for ctx.Err() == nil && !m.crew.stopping() {
		p, err := m.start(ctx)
		if err != nil {
			return
		}
		code, _ := p.Wait()
		m.mu.Lock()
		killed := m.killed
		m.tails = append(m.tails, fmt.Sprintf("--- %s %d ended with %d\n%s", m.name, m.life, code, p.Tail()))
		m.tails = m.tails[max(0, len(m.tails)-6):]
		m.mu.Unlock()
		switch {
		case m.owner && (code == 0 || code == 1) && strings.Contains(p.Tail(), "\ndone  "):
			m.crew.code = code
			close(m.crew.done)
			return
		case code == -1 && !killed && !m.crew.stopping(): // an input killed it
			m.crew.died(m.history(), true)
		case code != -1: // it could not go on, or not begin: the broker is away, say
			if pause(ctx, 200*time.Millisecond) != nil {
				return
			}
		}
	}
}

func (m *member) start(ctx context.Context) (*process.Process, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life++
	m.killed = false
	args := append([]string{"--history", filepath.Join("history", fmt.Sprintf("%s-%d.jsonl", m.name, m.life))}, m.args...)
	p, err := process.Start(ctx, process.Config{Dir: m.crew.dir, Name: m.crew.tools.milepost, Args: args, Env: m.crew.tools.env, Wide: true})
	if err == nil {
		p.Drain()
		m.process = p
	}
	return p, err
}

// history is the name of the file of the process in hand; m.mu need not be held by the goroutine that starts processes.
func (m *member) history() string { return fmt.Sprintf("%s-%d", m.name, m.life) }

// kill kills the process in hand.
func (m *member) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil || m.process.Over() || m.killed {
		return
	}
	m.killed = true
	at := history.Now()
	if m.process.Signal(syscall.SIGKILL) == nil {
		m.crew.note(death{who: m.history(), at: at})
	}
}

// freeze stops the process in hand for a while; a zombie is one that others took for dead meanwhile.
func (m *member) freeze(ctx context.Context, d time.Duration) {
	m.mu.Lock()
	p := m.process
	m.mu.Unlock()
	if p == nil || p.Signal(syscall.SIGSTOP) != nil {
		return
	}
	_ = pause(ctx, d) // thawed in any case
	if p.Signal(syscall.SIGCONT) == nil && !p.Over() {
		m.crew.mu.Lock()
		m.crew.frozen++
		m.crew.mu.Unlock()
	}
}

func (c *crew) died(who string, self bool) { c.note(death{who: who, at: history.Now(), self: self}) }

func (c *crew) note(d death) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaths = append(c.deaths, d)
}

func (c *crew) stopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stop
}

// leave ends the workers, politely; those that do not go are killed, and that is an error.
func (c *crew) leave(limit time.Duration) error {
	c.mu.Lock()
	c.stop = true
	c.mu.Unlock()
	var errs []error
	deadline := time.Now().Add(limit)
	asked := map[*process.Process]bool{}
	ask := func(p *process.Process) {
		if p != nil && !asked[p] {
			asked[p] = true
			_ = p.Signal(syscall.SIGTERM) // to one that has ended it is nothing
		}
	}
	for _, m := range c.members {
		ask(m.current())
	}
	for _, m := range c.members {
		for p := m.current(); p != nil && !p.Over(); p = m.current() {
			ask(p) // one may have been started meanwhile
			if time.Now().After(deadline) {
				m.signal(syscall.SIGKILL)
				errs = append(errs, fmt.Errorf("%s did not leave within %s of being asked:\n%s", m.name, limit, p.Tail()))
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return errors.Join(errs...)
}

// dump makes every process say what its goroutines do, and returns what they said last.
func (c *crew) dump() string {
	var b strings.Builder
	for _, m := range c.members {
		m.signal(syscall.SIGQUIT)
	}
	for _, m := range c.members {
		p := m.current()
		for n := 0; p != nil && !p.Ended() && n < 200; n++ { // what they say is long
			time.Sleep(100 * time.Millisecond)
		}
		if p != nil {
			fmt.Fprintf(&b, "=== %s\n%s\n", m.name, strings.Join(p.Lines(), "\n"))
		}
	}
	return b.String()
}

func (m *member) current() *process.Process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.process
}

func (m *member) signal(s syscall.Signal) {
	if p := m.current(); p != nil {
		_ = p.Signal(s) // to one that has ended it is nothing
	}
}
