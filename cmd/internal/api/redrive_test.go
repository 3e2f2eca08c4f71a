package api

import (
	"context"
	"encoding/json"
	"math"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/memory"
)

// refusing is a broker that does not say whether it stored that a job was queued, behind so many others.
type refusing struct {
	transport.Broker
	behind *atomic.Int32
}

func (r refusing) Log(ctx context.Context, c transport.LogConfig) (transport.Log, error) {
	l, err := r.Broker.Log(ctx, c)
	if err != nil || c.Stage != transport.JobStage {
		return l, err
	}
	return refusingLog{l, r.behind}, nil
}

type refusingLog struct {
	transport.Log
	behind *atomic.Int32
}

func (l refusingLog) Open(ctx context.Context, id schemas.ChainID) (transport.Chain, transport.State, error) {
	c, s, err := l.Log.Open(ctx, id)
	return refusingChain{c, l.behind}, s, err
}

type refusingChain struct {
	transport.Chain
	behind *atomic.Int32
}

func (c refusingChain) Append(ctx context.Context, records ...transport.Record) (int, error) {
	var e schemas.JobEvent
	if err := json.Unmarshal(records[0].Event.Data, &e); err != nil {
		return 0, err
	}
	if e.State == schemas.JobQueued && c.behind.Add(-1) == -1 {
		return 0, transport.ErrUnknown
	}
	return c.Chain.Append(ctx, records...)
}

// TestARedriveThatIsRefusedHalfWayCanBeDoneAgain: a recording's next generation is a job in each pipeline that reads it. The
// dead letter is redriven when all of them are queued, and until then it can be sent back.
func TestARedriveThatIsRefusedHalfWayCanBeDoneAgain(t *testing.T) {
	behind := &atomic.Int32{}
	behind.Store(math.MaxInt32)
	b := setupOver(t, refusing{memory.New(), behind})
	ctx := t.Context()
	b.refuse.Store(false)
	redrive := func() Operation {
		t.Helper()
		op, err := b.client.Redrive(ctx, LetterOrder{Filter: LetterFilter{Stage: "picky"}})
		if err == nil {
			op, err = b.client.Wait(ctx, op)
		}
		if err != nil {
			t.Fatal(err)
		}
		return op
	}
	for _, n := range []int32{1, 0} {
		behind.Store(n)
		if op := redrive(); op.Failed != 1 || op.Done != 0 {
			t.Fatalf("with the job behind %d others refused: %+v", n, op)
		}
		if l, err := b.client.Letters(ctx, LetterFilter{Stage: "picky"}); err != nil || l.Matching != 1 || l.Redrivable != 1 {
			t.Fatalf("%v: with the job behind %d others refused, %d dead letters can be sent back, want 1: %+v", err, n, l.Redrivable, l.Letters)
		}
	}
	if op := redrive(); op.Failed != 0 || op.Done != 1 {
		t.Fatalf("%+v", op)
	}
	for name, m := range b.managers {
		b.until("both jobs of the recording in "+name+" to finish", m.Changed, func() bool {
			finished := 0
			for _, j := range m.Jobs() {
				if j.Item == refused && j.State == schemas.JobFinished {
					finished++
				}
			}
			return finished == 2
		})
	}
	jobs, err := b.client.Jobs(ctx, JobFilter{Search: refused})
	if err != nil || jobs.Matching != 4 {
		t.Errorf("%v: %d jobs, want two in each pipeline: %+v", err, jobs.Matching, jobs.Jobs)
	}
	if l, err := b.client.Letters(ctx, LetterFilter{State: "redriven"}); err != nil || l.Matching != 1 {
		t.Errorf("%v: %+v", err, l)
	}
}

// TestAStoppedOperationFinishesItsStep: what a step has begun, several jobs maybe, it does in full.
func TestAStoppedOperationFinishesItsStep(t *testing.T) {
	s := &Server{c: Config{Now: time.Now, Managers: map[string]*job.Manager{}}, operations: newOperations(time.Now)}
	s.closing, s.cancel = context.WithCancel(t.Context())
	q := query{url.Values{"operation": {"op-1"}}}
	s.operate(Operation{Kind: "redrive", Matching: 2}, []step{
		{name: "first", do: func(ctx context.Context) error {
			if _, err := s.cancelOperation(ctx, q, nil); err != nil {
				t.Error(err)
			}
			return ctx.Err()
		}},
		{name: "second", do: func(context.Context) error {
			t.Error("begun after the operation was stopped")
			return nil
		}},
	})
	s.work.Wait()
	if _, op, _, ok := s.operations.find("op-1"); !ok || op.Done != 1 || op.Failed != 0 || op.State != "stopped" {
		t.Errorf("%+v", op)
	}
}
