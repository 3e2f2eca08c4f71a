package engine

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// follow hears of every job that failed, was resumed or was cancelled, until ctx ends. Deliveries alone do not do: each goes
// to one process, and another one may hold the job.
func (l *line) follow(ctx context.Context, log *slog.Logger) error {
	for ctx.Err() == nil {
		err := l.watch(ctx)
		if errors.Is(err, transport.ErrClosed) {
			return nil // the nodes say so
		}
		if ctx.Err() == nil {
			log.Warn("following the jobs was interrupted", "pipeline", l.spec.Name, "error", err)
			rest(ctx, brokerBackoff)
		}
	}
	return nil
}

func (l *line) watch(ctx context.Context) error {
	w, err := l.jobs.Watch(ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Newest: true})
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		s, err := w.Next(ctx)
		if err != nil {
			return err
		}
		var e schemas.JobEvent
		if json.Unmarshal(s.Event.Data, &e) == nil { // who owns the jobs says what is wrong
			l.hear(s.Chain.Job, s.Event.Sequence, e.State)
		}
	}
}

func (l *line) hear(id schemas.JobID, event uint64, state schemas.JobState) {
	l.mu.Lock()
	if state == schemas.JobFailed {
		l.failed[id] = event
	} else {
		delete(l.failed, id)
	}
	if state.Over() {
		l.e.progress.Delete(id)
	}
	if state == schemas.JobFinished {
		l.forget(id)
	}
	l.mu.Unlock()
	if state != schemas.JobFailed && state != schemas.JobStarted && state != schemas.JobCancelled {
		return
	}
	for _, n := range l.nodes {
		n.held.hear(id, event, state)
	}
}

// wasRead notes that all of the job's item was read, until the job is over.
func (l *line) wasRead(id schemas.JobID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed[id] != 0 {
		l.e.progress.Delete(id)
		return
	}
	l.e.progress.Store(id, 1.0)
}

// failedAt is the sequence of the event that says that the job is failed; 0 when it is not.
func (l *line) failedAt(id schemas.JobID) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed[id]
}

// failedJobs are up to so many of the jobs that are failed, in order of their ids.
func (l *line) failedJobs(most int) []schemas.JobID {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := slices.Sorted(maps.Keys(l.failed))
	return ids[:min(most, len(ids))]
}

// remembered is how many finished jobs a process still knows how far its nodes had come with: whoever looks may have asked for
// the jobs before it heard that they are finished.
const remembered = 64

// forget drops what the nodes remember of the oldest of the finished jobs; l.mu is held.
func (l *line) forget(id schemas.JobID) {
	if l.finished = append(l.finished, id); len(l.finished) <= remembered {
		return
	}
	for _, n := range l.nodes {
		n.reach.forget(l.finished[0])
	}
	l.finished = l.finished[1:]
}
