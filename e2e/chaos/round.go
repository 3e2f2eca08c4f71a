package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/e2e/chaos/clock"
	"github.com/milepost-dev/milepost/e2e/chaos/linear"
	"github.com/milepost-dev/milepost/e2e/internal/process"
	"github.com/milepost-dev/milepost/e2e/internal/results"
)

const (
	patience = 8 * time.Minute  // for the rest of a round, when nothing is done to it any more
	drain    = 40 * time.Second // for a worker that was asked to leave
)

// A harness is one run of the command.
type harness struct {
	o      options
	dir    string
	rng    *rand.Rand
	tools  tools
	want   results.Results
	report report
}

// run makes round after round.
func (h *harness) run(ctx context.Context) error {
	makeSystem := systems[h.o.broker]
	h.report.began = time.Now()
	for n := 1; h.more(); n++ {
		if err := h.round(ctx, makeSystem, n); err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
	}
	return nil
}

// more says whether there is to be another round. The naive mode is shown to be wrong by the first that is.
func (h *harness) more() bool {
	r := &h.report
	if h.o.naive && (r.wrong(true) || time.Since(r.began) > h.o.duration) {
		return false
	}
	kills := r.kills
	if h.o.broker == "embedded" {
		kills = r.deaths
	}
	return time.Since(r.began) < h.o.duration || r.deaths < leastDeaths || kills < leastKills
}

// prepare builds the binaries, with clocks that can be set, and computes what should come out.
func prepare(ctx context.Context, o options, dir string) (t tools, want results.Results, err error) {
	flag, err := clock.Overlay(ctx, dir)
	if err != nil {
		return t, nil, err
	}
	t = tools{milepost: o.milepost, server: o.server}
	if t.milepost == "" {
		t.milepost = filepath.Join(dir, "milepost")
		if err := process.Build(ctx, t.milepost, "github.com/milepost-dev/milepost/e2e/chaos/milepost-chaos", flag); err != nil {
			return t, nil, err
		}
	}
	if t.server == "" && (strings.Contains(o.broker, "nats") || strings.Contains(o.broker, "r3")) {
		t.server = filepath.Join(dir, "nats-server")
		if err := process.Build(ctx, t.server, "github.com/nats-io/nats-server/v2", flag); err != nil {
			return t, nil, err
		}
	}
	if want, err = expected(ctx, filepath.Join(dir, "oracle")); err != nil {
		return t, nil, err
	}
	fmt.Printf("without a transport: %d events, files, rows, dead letters and job states\n", len(want))
	return t, want, nil
}

// round runs the workload once on fresh state while it is attacked, and compares.
func (h *harness) round(ctx context.Context, makeSystem func(tools, string) (system, error), n int) (err error) {
	dir := filepath.Join(h.dir, fmt.Sprintf("round%d", n))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	workerTools, serverTools := h.tools, h.tools
	var clocks []*clock.Clock
	for _, t := range []*tools{&workerTools, &serverTools} {
		c, err := clock.New(filepath.Join(dir, fmt.Sprintf("clock%d", len(clocks))))
		if err != nil {
			return err
		}
		defer c.Close()
		clocks, t.env = append(clocks, c), []string{c.Env()}
	}
	s, err := makeSystem(serverTools, dir)
	if err != nil {
		return err
	}
	defer s.stop()
	if err := s.start(ctx); err != nil {
		return err
	}
	if err := writeWorkload(dir, s.transport()); err != nil {
		return err
	}
	retain := h.rng.IntN(4) > 0 || n == 1
	out := outcome{round: n, retained: retain, from: time.Now()}
	a := &attack{system: s, clocks: clocks, seed: h.rng.Uint64()}
	if err := h.fight(ctx, s, a, workerTools, dir, retain, &out); err != nil {
		return fmt.Errorf("%w\n%s", err, out.text())
	}
	if out.stuck == "" || h.o.naive {
		out.differences, out.wrong, err = h.compare(ctx, s, dir, retain, &out)
	}
	out.struck = a.struck
	out.took = time.Since(out.from)
	h.report.add(out)
	if out.bad() && h.o.keep != "" && !h.o.naive {
		err = errors.Join(err, h.save(dir, out))
	}
	return errors.Join(err, errors.Join(a.errs...))
}

// fight runs the crew under attack, until the owner says that all is over.
func (h *harness) fight(ctx context.Context, s system, a *attack, t tools, dir string, retain bool, out *outcome) error {
	workers := 0
	if s.shared() {
		workers = 3
	}
	if s.shared() && out.round == 1 {
		a.calm = 9 * time.Second
	}
	var flags []string
	if retain {
		flags = append(flags, "--retain")
	}
	if h.o.naive {
		flags = append(flags, "--naive")
	}
	processes, end := context.WithCancel(ctx)
	defer end()
	c, err := newCrew(processes, t, dir, workers, flags...)
	if err != nil {
		return err
	}
	a.crew = c
	attacking, stop := context.WithTimeout(ctx, s.tempo().attacked)
	go func() { // a round that is over needs no more of it
		select {
		case <-c.done:
			stop()
		case <-attacking.Done():
		}
	}()
	a.run(attacking)
	stop()
	out.struck = a.struck
	if err = s.heal(ctx); err != nil {
		return err
	}
	wait := patience
	if h.o.naive { // which often does not end at all
		wait = patience / 4
	}
	select {
	case <-c.done:
	case <-time.After(wait):
		out.stuck = c.dump()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := c.leave(drain); err != nil && out.stuck == "" {
		out.stuck = err.Error()
	}
	out.crew(c, s)
	return nil
}

// compare reads everything and says what is wrong.
func (h *harness) compare(ctx context.Context, s system, dir string, retain bool, out *outcome) (list []string, wrong int, err error) {
	got := results.Results{}
	if err := collectFiles(ctx, got, dir); err != nil {
		list = append(list, err.Error())
	}
	b, err := s.open(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer b.Close()
	if err := collectBroker(ctx, got, b, retain); err != nil {
		list = append(list, err.Error())
	}
	want := h.want
	if !retain { // what all have read is gone
		want = without(want, "event ")
	}
	list = append(list, got.Diff(want)...)
	wrong = max(got.Wrong(want), len(list))
	lives, err := linear.Load(filepath.Join(dir, "history"))
	if err != nil {
		return nil, 0, err
	}
	out.history(lives)
	if h.o.naive { // whether it came to its end does not matter, and its history is what it is
		return list, got.False(want), nil
	}
	content := map[linear.ChainID][]string{}
	if retain {
		if content, err = linear.Content(ctx, b, lives); err != nil {
			return nil, 0, err
		}
	}
	check := linear.Check(lives, content, s.allows())
	out.chains, out.sampled = check.Chains, check.Operations
	list = append(list, check.Violations...)
	return list, wrong + len(check.Violations), nil
}

func without(r results.Results, prefix string) results.Results {
	kept := results.Results{}
	for name, value := range r {
		if len(name) < len(prefix) || name[:len(prefix)] != prefix {
			kept[name] = value
		}
	}
	return kept
}

// save copies what a round left, with what was found, to where the user wants it.
func (h *harness) save(dir string, out outcome) error {
	to := filepath.Join(h.o.keep, fmt.Sprintf("seed%d-round%d", h.o.seed, out.round))
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, "found.txt"), []byte(out.text()), 0o644)
}
