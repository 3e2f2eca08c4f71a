package engine

import (
	"context"
	"sync"
	"time"

	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/transport"
)

// logReserve is the part of a log's limit, one in so many, that is kept for checkpoints, dead letters and controls: without
// them nothing could ever be trimmed.
const logReserve = 8

// logEvent: an event may fill one part in so many of a limited log. A larger one might wait for room for ever.
const logEvent = 2

// An alarm says that a node's log takes no more events. It stands until one is taken again.
type alarm struct {
	mu     sync.Mutex
	is     bool
	logged time.Time
	held   Held // when that was last logged
}

// alarmEvery is how often the same alarm is logged: a log that is full has room now and then.
const alarmEvery = 10 * time.Second

// raise says whether it stands only now, and whether it is to be logged.
func (a *alarm) raise(now time.Time) (rose, log bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rose, a.is = !a.is, true
	if log = now.Sub(a.logged) >= alarmEvery; log {
		a.logged = now
	}
	return rose, log
}

func (a *alarm) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.is, a.held = false, Held{}
}

// says sets what is told of it, while it stands.
func (a *alarm) says(h Held) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.is {
		a.held = h
	}
}

func (a *alarm) heldBy() *Held {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.held.Jobs) == 0 && a.held.Letters == 0 {
		return nil
	}
	h := a.held
	return &h
}

func (a *alarm) stands() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.is
}

// isFull raises the alarm, and makes what room there can be: what consumers have taken is trimmed at once, however little it is.
// The stage waits then, and whatever feeds it waits for it, up to the reader.
func (i *instance) isFull(ctx context.Context) {
	rose, log := i.n.full.raise(time.Now())
	if rose {
		i.h.pokeAll()
	}
	if log {
		i.n.sayFull(ctx, i.w.item.Name)
	}
	i.makeRoom(ctx)
}

// share is what one job may hold of a limited log that cannot be trimmed, or is not worth a trim; 0 where there is no limit. Half
// of the log is for all jobs that may be at work: a step, and the reserve, come on top.
func (n *node) share() int64 { return spec.LogShare(n.e.maxLog, n.line.active()) }

// makeRoom trims what consumers have taken of this chain, however little it is. An instance with nothing to do does so as long
// as its log is full: it may hold what others lack.
func (i *instance) makeRoom(ctx context.Context) {
	i.roomMade = time.Now()
	if i.flow == nil || i.n.e.retain {
		return
	}
	if err := i.flow.lookUp(ctx, i.n, i.w.id); err != nil {
		i.n.log.Debug("looking for room", "error", err)
	}
	if i.trim(ctx, 1); i.n.keeps {
		return
	}
	if err := i.trimOwn(ctx); err != nil {
		i.n.log.Debug("trimming a full log", "error", err)
	}
}

// trimOwn trims up to the chain's own last checkpoint, where all consumers are beyond it. Only their positions are known, so
// that of the checkpoint's last event is looked up: a stage with outputs in hand cannot write another checkpoint, and must
// not wait for one.
func (i *instance) trimOwn(ctx context.Context) error {
	if i.savedOut <= i.trimmed || !i.flow.covers(i.savedOut) {
		return nil
	}
	id := i.chain.ID()
	w, err := i.n.out.Watch(ctx, transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Chain: &id, Headers: true, Drain: true})
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		s, err := w.Next(ctx)
		if err != nil {
			return err
		}
		if s.Event.Sequence < i.savedOut {
			continue
		}
		i.trimmed = i.savedOut
		if s.Event.Sequence > i.savedOut {
			return nil // it was trimmed already
		}
		return i.n.out.Trim(ctx, id, s.Position)
	}
}
