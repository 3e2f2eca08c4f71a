package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// Held is what keeps room in a full log that no consumer gives back.
type Held struct {
	Jobs    []Holder `json:"jobs"`         // failed ones, those with most bytes first
	Letters int64    `json:"letter_bytes"` // of dead letters of all other jobs, which can be purged
}

// A Holder is a failed job that holds room in a log: what its halted stage has yet to read stays until the job goes on or is
// cancelled, and so does the dead letter that halted it.
type Holder struct {
	Pipeline string        `json:"pipeline"` // of the job
	Job      schemas.JobID `json:"job"`
	Bytes    int64         `json:"bytes"` // of what the log keeps for it
}

// holdersSeen is how many failed jobs are looked at when a log is full, and named is how many of them the log names.
const (
	holdersSeen = 256
	named       = 5
)

// sayFull tells the user that the node's log is full, what holds room in it, and which command gives that back.
func (n *node) sayFull(ctx context.Context, recording string) {
	held, err := n.holders(ctx)
	if err != nil {
		n.log.Debug("looking who holds the log's room", "error", err)
	}
	n.full.says(held)
	args := []any{"recording", recording}
	var next []string
	if len(held.Jobs) > 0 {
		var bytes int64
		var ids []string
		for k, h := range held.Jobs {
			if bytes += h.Bytes; k < named {
				ids = append(ids, string(h.Job))
			}
		}
		args = append(args, "failed_jobs", len(held.Jobs), "their_bytes", bytes)
		next = append(next, fmt.Sprintf("milepost dlq redrive %s lets failed jobs go on, milepost jobs cancel %s gives up those that hold most",
			held.Jobs[0].Pipeline, strings.Join(ids, " ")))
	}
	if held.Letters > 0 {
		args = append(args, "dead_letter_bytes", held.Letters)
		next = append(next, fmt.Sprintf("milepost dlq purge %s/%s removes dead letters of jobs that are over", n.pipeline, n.name))
	}
	if len(next) > 0 {
		args = append(args, "next", strings.Join(next, "; ")+"; or a larger limits.max_bytes")
	}
	n.log.Warn("the log is full: the stage waits until its consumers have taken more, and what feeds it waits too", args...)
}

// holders looks who keeps room in the node's log.
func (n *node) holders(ctx context.Context) (held Held, err error) {
	letters, err := n.letterBytes(ctx)
	if err != nil {
		return held, err
	}
	seen := map[schemas.JobID]bool{}
	for _, c := range append([]*node{n}, n.consumers...) {
		for _, id := range c.line.failedJobs(holdersSeen) {
			of, err := c.readBy(ctx, id, n)
			if err != nil || seen[of] {
				continue // a failed job that cannot be read holds up no alarm
			}
			seen[of] = true
			bytes, err := n.keptOf(ctx, of)
			if err != nil {
				return held, err
			}
			if c.line == n.line {
				bytes += letters[of]
				delete(letters, of)
			}
			if bytes > 0 {
				held.Jobs = append(held.Jobs, Holder{Pipeline: c.pipeline, Job: id, Bytes: bytes})
			}
		}
	}
	for _, bytes := range letters {
		held.Letters += bytes
	}
	slices.SortFunc(held.Jobs, func(a, b Holder) int { return cmp.Or(-cmp.Compare(a.Bytes, b.Bytes), cmp.Compare(a.Job, b.Job)) })
	return held, nil
}

// readBy is the job of the input node that a job of this one reads.
func (n *node) readBy(ctx context.Context, job schemas.JobID, input *node) (schemas.JobID, error) {
	if n.pipeline == input.pipeline {
		return job, nil
	}
	w, err := n.look(ctx, job)
	return w.upstream, err
}

// keptOf is how many bytes of a job's out events the node's log has.
func (n *node) keptOf(ctx context.Context, job schemas.JobID) (bytes int64, err error) {
	id := schemas.ChainID{Job: job, Stage: n.name}
	c := transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Chain: &id, Headers: true, Drain: true}
	err = transport.Each(ctx, n.out, c, func(s *transport.Stored) error { bytes += int64(s.Bytes); return nil })
	return bytes, err
}

// letterBytes are those of the dead letters in the node's log, by job.
func (n *node) letterBytes(ctx context.Context) (map[schemas.JobID]int64, error) {
	bytes := map[schemas.JobID]int64{}
	c := transport.WatchConfig{Kinds: []transport.Kind{transport.DeadLetter}, Headers: true, Drain: true}
	err := transport.Each(ctx, n.out, c, func(s *transport.Stored) error { bytes[s.Chain.Job] += int64(s.Bytes); return nil })
	return bytes, err
}

// discarded gives back what a cancelled job held: of the node's own log, and of those that only waited for it in other pipelines.
func (n *node) discarded(ctx context.Context, job schemas.JobID) error {
	if err := n.discard(ctx, job); err != nil {
		return err
	}
	for _, in := range n.inputs {
		if in.pipeline == n.pipeline || n.e.retain {
			continue
		}
		if err := n.trimAbove(ctx, in, job); err != nil {
			return err
		}
	}
	return nil
}

// discard gives back the room that a cancelled job has in the node's log, once the node has heard of the cancel: its stages read no
// more of it. What the node had ended before stays for pipelines that read it and go on all the same.
func (n *node) discard(ctx context.Context, job schemas.JobID) error {
	if n.e.retain || n.keeps || len(n.consumers) == 0 {
		return nil
	}
	last, err := n.lastControl(ctx, job)
	if err != nil || last != schemas.ControlEnd && last != schemas.ControlCancel {
		return err
	}
	if last == schemas.ControlEnd {
		if known, err := n.knowsReaders(ctx, job); err != nil || !known {
			return err
		}
	}
	for _, c := range n.consumers {
		if last == schemas.ControlCancel || c.pipeline == n.pipeline {
			continue
		}
		if over, err := c.isOver(ctx, c.jobOf(n, job)); err != nil || !over {
			return err
		}
	}
	return n.out.Trim(ctx, schemas.ChainID{Job: job, Stage: n.name}, ^schemas.Position(0))
}
