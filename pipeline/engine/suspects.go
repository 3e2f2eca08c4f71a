package engine

import (
	"sync"
	"time"

	"github.com/milepost-dev/milepost/pipeline/engine/settle"
	"github.com/milepost-dev/milepost/schemas"
)

// suspectAt is the count of an attempt record from which its job is a suspect: a worker died that had said as much before, and
// nothing was stored since.
const suspectAt = 2

// suspicion is how long a suspect may keep the others waiting with one step: what kills a worker does so sooner, as a rule.
const suspicion = 30 * time.Second

// suspects let one job at a time do in this process what its worker died of before. A step that kills takes the whole process
// with it: were all tried at once, again and again, the deaths would be counted against every job that was in it, and the
// innocent given up with the guilty. One after another, the innocent get through and the guilty die alone.
type suspects struct{ turn chan struct{} }

func newSuspects() suspects { return suspects{turn: make(chan struct{}, 1)} }

// suspected says whether the write counts another try of what workers died of before.
func suspected(w *settle.Write) bool {
	return w.Kind == settle.WriteControl && w.Control == schemas.ControlAttempt && w.Attempts >= suspectAt
}

// isolate waits for the suspect's turn. It is false when a command, or the process's stop, came first.
func (i *instance) isolate() bool {
	if i.alone != nil {
		return true
	}
	i.release() // who has the turn may wait for a slot
	s := i.n.e.suspects
	select {
	case s.turn <- struct{}{}:
	case <-i.wake:
		return false
	case <-i.drain:
		return false
	}
	over := sync.OnceFunc(func() { <-s.turn })
	t := time.AfterFunc(suspicion, over)
	i.alone = func() {
		t.Stop()
		over()
	}
	return true
}

// cleared lets the next suspect have its turn: this one got through, or waits for others, who may wait for it.
func (i *instance) cleared() {
	if i.alone != nil {
		i.alone()
		i.alone = nil
	}
}
