package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// runFlags are the flags of `run`.
type runFlags struct {
	exit     bool
	again    bool
	progress string
	listen   string
	metrics  string
	retain   bool
	naive    bool
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run [pipeline...]", Short: "run pipelines over all items",
		Long: "Run replays every item of the pipelines through their stages and serves the dashboard meanwhile. What is finished already is shown,\n" +
			"not repeated. On a terminal the dashboard stays until Ctrl-C; in a pipe, in CI or with --exit the command leaves at the end.",
		RunE: func(c *cobra.Command, args []string) error { return a.run(c.Context(), args, f) },
	}
	c.Flags().BoolVar(&f.exit, "exit", false, "leave at the end, on a terminal too")
	c.Flags().BoolVar(&f.again, "again", false, "run finished items again, as another generation")
	c.Flags().StringVar(&f.progress, "progress", "auto", "auto, plain, json or none")
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:7070", "address of dashboard and API on loopback; a taken port is replaced by a free one")
	monitorFlag(c, &f.metrics)
	c.Flags().BoolVar(&f.retain, "retain", false, "keep every event in the streams instead of trimming what all have read")
	c.Flags().BoolVar(&f.naive, "naive", false, "at least once, as everybody does it: for the test that tells the difference")
	if err := c.Flags().MarkHidden("naive"); err != nil {
		panic(err)
	}
	return c
}

func (a *app) run(ctx context.Context, pipelines []string, f runFlags) error {
	if err := checkListen(f.listen); err != nil {
		return err
	}
	s, err := a.load(ctx)
	if err != nil {
		return err
	}
	if err := s.CheckNames(pipelines); err != nil {
		return exit(ExitUsage, err)
	}
	log, err := a.logger()
	if err != nil {
		return err
	}
	p, err := a.newProgress(f.progress)
	if err != nil {
		return err
	}
	x, err := a.openSession(ctx, s, sessionOptions{pipelines: pipelines, retain: f.retain, naive: f.naive, again: f.again, appended: p.appended}, p.logger(log))
	if err != nil {
		return err
	}
	err = a.replay(ctx, x, f, p)
	closed := x.close()
	if closed == nil {
		return err
	}
	if e, ok := err.(exitError); ok && e.err == nil {
		err = nil // it has been told
	}
	return exit(ExitFailed, errors.Join(err, closed))
}

// replay runs the session from its first line on the screen to its last.
func (a *app) replay(ctx context.Context, x *session, f runFlags, p *progress) error {
	server, err := a.serve(x, f.listen)
	if err != nil {
		return exit(ExitFailed, err)
	}
	defer server.close()
	watched, err := monitor(f.metrics, x.api(""))
	if err != nil {
		return err
	}
	defer watched()
	fmt.Fprintf(a.stderr, "milepost %s   %s   transport %s\ndashboard        %s\n\n", Version, a.files[len(a.files)-1], a.describe(x), server.url(x.engine.Pipelines()[0]))
	w := x.begin(ctx)
	started := time.Now()
	err = a.follow(w.alive, x, p)
	if err == nil {
		a.summary(ctx, x, time.Since(started))
		if attended(a.stderr) && !f.exit {
			fmt.Fprintf(a.stderr, "  dashboard stays     %s   (Ctrl-C to leave)\n", server.url(x.engine.Pipelines()[0]))
			stopFleet := x.keepFleet(w.alive)
			<-w.alive.Done()
			stopFleet()
		}
	}
	p.totals(x, time.Since(started))
	p.close()
	return a.outcome(ctx, x, err, w.end())
}

// working is the work of a session that goes on while a run shows it.
type working struct {
	alive context.Context // ends with the run's, and with the work: nobody does then what is waited for
	stop  func()
	ended chan error
}

// begin starts the work. It goes on when ctx ends, until end is called: what is taken is finished.
func (x *session) begin(ctx context.Context) *working {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	alive, dead := context.WithCancel(ctx)
	w := &working{alive: alive, stop: stop, ended: make(chan error, 1)}
	go func() {
		w.ended <- x.work(work)
		dead()
	}()
	return w
}

// end drains, and says why the work came to its end; nil when nothing but that was the reason.
func (w *working) end() error {
	w.stop()
	return <-w.ended
}

// outcome is how a run ends: what following it gave, and what its work gave.
func (a *app) outcome(ctx context.Context, x *session, followed, worked error) error {
	interrupted := ctx.Err() != nil && cancelled(followed)
	if cancelled(followed) && worked != nil {
		followed = nil // it only says that nobody works any more
	}
	err := errors.Join(worked, followed)
	switch {
	case interrupted && worked == nil:
		fmt.Fprintln(a.stderr, "interrupted: what was taken is stored, the next run goes on there")
		return exitError{code: ExitInterrupted}
	case interrupted:
		return exit(failure(err), fmt.Errorf("interrupted, and not all that was taken could be stored; the next run takes the rest again\n  %w", err))
	case err != nil:
		return exit(failure(err), err)
	case x.failures() > 0:
		return exitError{code: ExitFailed}
	}
	return nil
}

// failure is the exit code of an error of a run.
func failure(err error) int {
	if errors.Is(err, transport.ErrUnreachable) {
		return ExitUnreachable
	}
	return ExitFailed
}

// follow submits the items and shows progress until every job is over.
func (a *app) follow(ctx context.Context, x *session, p *progress) error {
	if err := x.submit(ctx); err != nil {
		return err
	}
	stop, stopFleet := p.show(x), x.keepFleet(ctx)
	err := x.wait(ctx)
	stopFleet()
	stop()
	if err != nil {
		return err
	}
	return x.fleet(ctx)
}

// failures is how many jobs that the run worked on did not finish.
func (x *session) failures() (n int) {
	for _, name := range x.engine.Pipelines() {
		for _, j := range slices.Concat(x.jobs(name), x.others(name)) {
			if j.State != schemas.JobFinished {
				n++
			}
		}
	}
	return n
}

// describe says where the events are.
func (a *app) describe(x *session) string {
	d := x.broker.Describe()
	if x.spec.Transport.Kind() == "embedded" {
		path := x.state.path
		if !filepath.IsAbs(path) {
			path = "." + string(os.PathSeparator) + filepath.Clean(path)
		}
		return fmt.Sprintf("embedded (state %s, kept between runs)", path)
	}
	return d.Kind + " " + d.Address
}
