package settle

import (
	"slices"

	"github.com/milepost-dev/milepost/schemas"
)

// maxSteps bounds a schedule: every one has to come to rest.
const maxSteps = 30_000

// run lets a schedule go until nothing moves, and says what is wrong with the outcome, "" if nothing is.
func (w *world) run() string {
	for w.wrong == "" {
		if w.now++; w.now > maxSteps {
			return "never comes to rest"
		}
		w.stats.steps++
		w.disturb()
		if w.wrong == "" && !w.move() && !w.later() {
			break
		}
	}
	if w.wrong != "" {
		return w.wrong
	}
	return w.verdict()
}

// move lets somebody do something.
func (w *world) move() bool {
	if w.chance(1, 8) && w.deliver() {
		return true
	}
	if n := len(w.holders); n > 0 {
		first := w.draw(n)
		for k := range n {
			h := w.holders[(first+k)%n]
			if h.paused <= w.now && !h.dead && h.act() {
				w.bury()
				return true
			}
		}
	}
	w.bury()
	return w.deliver()
}

func (w *world) bury() {
	for k := 0; k < len(w.holders); k++ {
		if w.holders[k].dead {
			w.spares(w.holders[k])
			w.holders = slices.Delete(w.holders, k, k+1)
			k--
		}
	}
}

// spares keeps what a dead holder is made of, unless a late append of his is on its way.
func (w *world) spares(h *holder) {
	if !h.late {
		w.spare = append(w.spare, h)
	}
}

func (w *world) deliver() bool {
	n := len(w.inbox)
	first := w.draw(n)
	for k := range n {
		d := w.inbox[(first+k)%n]
		if d.out && d.due > 0 && d.due <= w.now {
			d.ready, d.due = true, 0
		}
		if d.ready {
			if !w.hand(d) {
				w.start(d)
			}
			return true
		}
	}
	return false
}

// later lets time pass when nobody can do anything: zombies wake, deliveries are handed out again, the user acts.
func (w *world) later() bool {
	next := 0
	sooner := func(at int) {
		if at > w.now && (next == 0 || at < next) {
			next = at
		}
	}
	for _, h := range w.holders {
		sooner(h.paused)
	}
	for _, d := range w.inbox {
		if d.out {
			sooner(d.due)
		}
	}
	switch {
	case len(w.late) > 0:
		w.arriveLate()
	case next > 0:
		w.now = next
	default:
		return w.resume()
	}
	return true
}

func (w *world) arriveLate() {
	k := w.draw(len(w.late))
	w.late[k]()
	w.late = slices.Delete(w.late, k, k+1)
}

// disturb does at most one thing to the system.
func (w *world) disturb() {
	if len(w.late) > 0 && w.chance(1, 30) {
		w.arriveLate()
	}
	if w.chance(1, 40) {
		w.trim(w.stages[w.draw(len(w.stages))])
	}
	if ExpiringRecords.on() && w.now%50 == 0 {
		w.expire()
	}
	if w.chance(1, 60) {
		w.resume()
	}
	if w.faults == 0 || !w.chance(1, 40) {
		return
	}
	w.faults--
	switch w.draw(8) {
	case 0, 1, 2:
		w.crash(1)
	case 3:
		w.crash(2)
	case 4, 5:
		w.pause()
	case 6:
		w.redeliver()
	case 7:
		w.command()
	}
}

// crash kills some of the processes.
func (w *world) crash(of int) {
	for _, h := range w.holders {
		if !h.dead && w.chance(1, of) {
			h.die()
			if of == 2 {
				return
			}
		}
	}
	w.bury()
}

// pause makes zombies: their deliveries go to others, and they wake up later and go on.
func (w *world) pause() {
	for _, h := range w.holders {
		if w.chance(1, 2) && h.paused <= w.now && !h.dead {
			w.stats.zombies++
			w.trouble[h.current]++
			h.paused = w.now + 20 + w.draw(200)
			h.delivery.expire(w)
		}
	}
}

// redeliver is the whole jobs stream coming again.
func (w *world) redeliver() {
	for _, d := range w.inbox {
		if w.chance(2, 3) {
			d.ready = true
		}
	}
}

func (w *world) command() {
	if w.chance(1, 4) && !w.cancelled {
		w.cancelled = true
		w.stats.cancels++
		for _, n := range w.stages {
			w.inbox = append(w.inbox, &delivery{node: n, ready: true, command: &Request{Want: WantCancel}})
		}
		return
	}
	if n := len(w.holders); n > 0 {
		if h := w.holders[w.draw(n)]; !h.dead && h.paused <= w.now {
			h.interrupt(Request{Want: WantDrain})
		}
	}
}

// interrupt hands a command in; a step that waits or runs may be broken off for it.
func (h *holder) interrupt(r Request) {
	h.handle(Input{Op: Command, Command: r})
	if h.asked && h.todo.Do == Step && h.w.chance(1, 2) {
		h.run(&h.todo.Step)
		h.reply(Input{Op: Stepped, Failure: Interrupted})
	}
}

// resume is the user who finds a halted job, and sees to what was wrong with its input sooner or later.
func (w *world) resume() bool {
	for _, n := range w.stages {
		c := w.chains[n.index]
		r := c.halted()
		if r == nil || n.flaky || !w.patient || w.pending(n, r.Position) {
			continue
		}
		k, input := n.opening(), schemas.InputRef{}
		if r.Letter != nil {
			input = r.Letter.Input
			k = n.key(n.edge(input.Edge), input.Sequence)
		}
		if w.chance(2, 3) {
			w.healed[k] = true
		}
		w.stats.resumes++
		w.order(&delivery{node: n, ready: true, command: &Request{Want: WantResume, Input: input, Letter: r.Position}})
		return true
	}
	return false
}

// order hands a command to whoever works on the job, or to anybody.
func (w *world) order(d *delivery) {
	w.inbox = append(w.inbox, d)
	w.hand(d)
}

// hand hands a command, for the first time or again, to one who works on the job; false when it is for anybody still.
func (w *world) hand(d *delivery) bool {
	if d.command == nil {
		return false
	}
	for _, h := range w.holders {
		if h.node == d.node && !h.dead && h.paused <= w.now && w.chance(1, 2) {
			d.ready, d.out, d.due = false, true, 0
			h.orders = append(h.orders, d)
			h.handle(Input{Op: Command, Command: *d.command})
			h.withhold()
			return true
		}
	}
	return false
}

func (n *node) edge(name string) int { return max(0, n.cfg.edge(name)) }

func (w *world) pending(n *node, letter schemas.Position) bool {
	for _, d := range w.inbox {
		if d.node == n && d.command != nil && d.command.Letter == letter && letter != 0 {
			return true
		}
	}
	return false
}

// halted is the record that halts the chain, nil when none does.
func (c *chain) halted() (r *Record) {
	for k := range c.records {
		s := &c.records[k]
		switch {
		case s.rec.Letter != nil && s.rec.Letter.Decision != schemas.Skip:
			r = &s.rec
		case s.rec.Control == nil:
		case s.rec.Control.Kind == schemas.ControlHalt:
			r = &s.rec
		case s.rec.Control.Kind == schemas.ControlResume || s.rec.Control.Kind == schemas.ControlCancel:
			r = nil
		}
	}
	return r
}
