package memory

import (
	"sync"
	"time"
)

// A Clock is where AckWait, delays and the time of storing come from.
type Clock interface {
	Now() time.Time
	// At calls f on another goroutine, or inside whatever lets time pass, once it is that time or later.
	At(t time.Time, f func()) (stop func() bool)
}

// UseClock sets the store's clock; call it before anything waits.
func (b *Broker) UseClock(c Clock) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.store.clock = c
}

// SystemClock is package time (and so the clock of a testing/synctest bubble inside one).
type SystemClock struct{}

// Now is time.Now.
func (SystemClock) Now() time.Time { return time.Now() }

// At is time.AfterFunc.
func (SystemClock) At(t time.Time, f func()) func() bool {
	return time.AfterFunc(time.Until(t), f).Stop
}

// A ManualClock stands still until Advance. Its zero value stands at the zero time; NewManualClock is more usual.
type ManualClock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*timer]struct{}
}

type timer struct {
	at time.Time
	f  func()
}

// NewManualClock makes a clock that stands at start.
func NewManualClock(start time.Time) *ManualClock { return &ManualClock{now: start} }

// Now is the time that the clock stands at.
func (c *ManualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// At has f called by the Advance that reaches the time, or now if it is over.
func (c *ManualClock) At(at time.Time, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !at.After(c.now) {
		go f()
		return func() bool { return false }
	}
	t := &timer{at, f}
	if c.timers == nil {
		c.timers = map[*timer]struct{}{}
	}
	c.timers[t] = struct{}{}
	return func() bool { return c.remove(t) }
}

func (c *ManualClock) remove(t *timer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, was := c.timers[t]
	delete(c.timers, t)
	return was
}

// Advance lets d pass and returns when every function that fell due has returned.
func (c *ManualClock) Advance(d time.Duration) {
	for _, t := range c.due(d) {
		t.f()
	}
}

func (c *ManualClock) due(d time.Duration) []*timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	var due []*timer
	for t := range c.timers {
		if !t.at.After(c.now) {
			due = append(due, t)
			delete(c.timers, t)
		}
	}
	return due
}
