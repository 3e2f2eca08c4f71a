package job_test

import (
	"context"
	"errors"
	"testing"

	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

func TestAJobThatAnotherOwnerCancelledIsNotChangedAgain(t *testing.T) {
	b := setup(t, 0)
	b.submit("a", "b") // a is started, b is queued
	b.await(map[string]schemas.JobState{"a": schemas.JobStarted, "b": schemas.JobQueued})
	other, err := job.Open(t.Context(), b.c) // it hears of nothing more: it does not run
	if err != nil {
		t.Fatal(err)
	}
	if err := b.m.Cancel(t.Context(), id("b")); err != nil {
		t.Fatal(err)
	}
	if err := other.Cancel(t.Context(), id("b")); !errors.Is(err, job.ErrOver) {
		t.Errorf("the second cancel says %v", err)
	}
	if j, _ := other.Job(id("b")); j.State != schemas.JobCancelled {
		t.Errorf("the other owner has it %s", j.State)
	}
}

// stuck is a log whose chains take nothing until they may.
type stuck struct {
	transport.Log
	begun, may chan struct{}
}

type stuckChain struct {
	transport.Chain
	l *stuck
}

func (l *stuck) Open(ctx context.Context, id schemas.ChainID) (transport.Chain, transport.State, error) {
	c, s, err := l.Log.Open(ctx, id)
	return &stuckChain{c, l}, s, err
}

func (c *stuckChain) Append(ctx context.Context, r ...transport.Record) (int, error) {
	c.l.begun <- struct{}{}
	<-c.l.may
	return c.Chain.Append(ctx, r...)
}

func TestTheTableCanBeReadWhileTheBrokerDoesNotAnswer(t *testing.T) {
	b := setup(t, 1)
	b.submit("a")
	b.await(map[string]schemas.JobState{"a": schemas.JobStarted})
	l := &stuck{Log: b.c.Jobs, begun: make(chan struct{}), may: make(chan struct{})}
	c := b.c
	c.Jobs = l
	m, err := job.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- m.Cancel(context.Background(), id("a")) }()
	<-l.begun
	if j, _ := m.Job(id("a")); j.State != schemas.JobStarted || len(m.Jobs()) != 1 {
		t.Errorf("job %+v", j)
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Cancel(impatient, id("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("a command whose caller has gone says %v", err)
	}
	close(l.may)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestStopEndsOneRunOnly(t *testing.T) {
	b := setup(t, 1)
	b.submit("a", "b")
	b.await(map[string]schemas.JobState{"a": schemas.JobStarted})
	b.halt("a", schemas.Stop)
	b.await(map[string]schemas.JobState{"a": schemas.JobFailed, "b": schemas.JobCancelled})
	if _, err := b.m.Submit(t.Context(), job.Submission{ID: id("c"), Item: "c", Source: []byte(`{}`), Run: "another"}); err != nil {
		t.Fatal(err)
	}
	b.await(map[string]schemas.JobState{"c": schemas.JobStarted})
}
