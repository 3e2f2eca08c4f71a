package cmd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/cmd/internal/api"
)

// finish waits for a bulk operation and prints what it did. named are the ids, pipelines or stages that the command line names:
// of each, something must have taken it.
func (a *app) finish(ctx context.Context, c *api.Client, op api.Operation, err error, verb, noun string, named []string) error {
	if err == nil {
		op, err = a.await(ctx, c, op, verb, noun)
	}
	if err == nil {
		err = a.printOperation(op, verb, noun)
	}
	if err != nil {
		return err
	}
	if left := op.Total - op.Done - op.Failed; op.State == "stopped" {
		fmt.Fprintf(a.stderr, "interrupted: %s done, %d left; the same command goes on with those\n", plural(op.Done, noun), left)
		return exitError{code: ExitInterrupted}
	}
	missing := slices.DeleteFunc(slices.Clone(named), func(name string) bool { return touches(op, name) })
	for _, name := range missing {
		fmt.Fprintf(a.stderr, "  %s: no %s to %s\n", name, noun, verb)
	}
	if op.Failed > 0 || len(op.Refused) > 0 || len(missing) > 0 {
		return exitError{code: ExitFailed}
	}
	return nil
}

// touches says whether an operation has something of a name: an id, the beginning of one, or pipeline[/stage].
func touches(op api.Operation, name string) bool {
	begins := func(of string) bool { return strings.HasPrefix(of, name) }
	under := func(stage string) bool { return stage == name || strings.HasPrefix(stage, name+"/") }
	return slices.ContainsFunc(op.Names, begins) || slices.ContainsFunc(op.Stages, under)
}

const (
	tellEvery  = time.Second      // a bulk operation is asked how far it is
	stopWithin = 30 * time.Second // one that is stopped finishes its step
)

// await waits for an operation and tells how far it is. When ctx ends it stops the operation behind the step that it is at, and
// returns what was done.
func (a *app) await(ctx context.Context, c *api.Client, op api.Operation, verb, noun string) (api.Operation, error) {
	if op.DryRun {
		return op, nil
	}
	t := bulkProgress{out: a.stderr, what: verb + ": ", noun: noun, redraw: redrawn(a.stderr)}
	t.tell(op)
	last, err := c.Watch(ctx, op, tellEvery, t.tell)
	if ctx.Err() != nil {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		if last, err = c.CancelOperation(stopping, op.ID); err == nil {
			last, err = c.Wait(stopping, last)
		}
	}
	t.end()
	return last, err
}

// bulkProgress tells how far a bulk operation is: on a terminal in one line that is written over, elsewhere in a line now and then.
type bulkProgress struct {
	out        io.Writer
	what, noun string
	redraw     bool
	drawn      bool
	tenth      int // of the whole, that the last line told
	silent     int // answers since
}

// Operations of fewer steps are told nothing of in lines, and a line comes after so many answers even where little was done.
const (
	fewSteps   = 20
	mostSilent = 15
)

func (p *bulkProgress) tell(op api.Operation) {
	if op.Total < fewSteps || op.Ended != nil {
		return
	}
	did := op.Done + op.Failed
	text := fmt.Sprintf("%s%d of %s", p.what, did, plural(op.Total, p.noun))
	if p.redraw {
		fmt.Fprintf(p.out, "\r%s\x1b[K", text)
		p.drawn = true
		return
	}
	tenth := 1 + 10*did/op.Total // 0 is: nothing was told yet
	if p.silent++; tenth == p.tenth && p.silent < mostSilent {
		return
	}
	p.tenth, p.silent = tenth, 0
	fmt.Fprintln(p.out, text)
}

// end takes the line off the terminal.
func (p *bulkProgress) end() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func (a *app) printOperation(op api.Operation, verb, noun string) error {
	if a.structured() {
		return a.document(op)
	}
	if op.DryRun {
		fmt.Fprintf(a.stdout, "would %s %d of %s\n", verb, op.Total, plural(op.Matching, noun))
		for _, n := range op.Names {
			fmt.Fprintln(a.stdout, "  "+n)
		}
	} else {
		fmt.Fprintf(a.stdout, "%s: %d of %s done, %d refused\n", verb, op.Done, plural(op.Total, noun), op.Failed+len(op.Refused))
	}
	for _, why := range slices.Concat(op.Refused, op.Errors) {
		fmt.Fprintln(a.stderr, "  "+why)
	}
	if op.Superseded > 0 {
		fmt.Fprintf(a.stderr, "  %s passed over: superseded, the next generation of the job does all of its recording anew\n", plural(op.Superseded, noun))
	}
	return nil
}
