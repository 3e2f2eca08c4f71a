package engine

// A caller runs calls into one stage's code on a goroutine of its own, so that a call that does not come back can be given up.
// It is one goroutine for all of them: one for each step would grow its stack anew each time, which costs a small step more
// than all the rest of it.
type caller struct {
	calls chan func() error
	done  chan error
}

// begin starts a call; its error comes by the channel. One call at a time.
func (c *caller) begin(call func() error) <-chan error {
	if c.calls == nil {
		c.calls, c.done = make(chan func() error), make(chan error, 1)
		go serve(c.calls, c.done)
	}
	c.calls <- call
	return c.done
}

func serve(calls <-chan func() error, done chan<- error) {
	for call := range calls {
		done <- call()
	}
}

// end lets the goroutine go, when the call that it is in comes back.
func (c *caller) end() {
	if c.calls != nil {
		close(c.calls)
		c.calls = nil
	}
}
