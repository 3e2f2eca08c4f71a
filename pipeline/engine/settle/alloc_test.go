package settle

import "testing"

// live is an Instance in the middle of its job, and a function that takes one more input through it.
func live(c Config) func() {
	c.Edges, c.CheckpointInputs = []string{"up"}, 1<<60
	i := New(c)
	i.Handle(Input{Op: Start})
	i.Handle(Input{Op: Opened})
	i.Handle(Input{Op: Restored})
	out := []Output{{Bytes: 1}}
	n := uint64(0)
	return func() {
		n++
		i.Handle(Input{Op: Arrived, Event: Event{Reading: i.queues[0].reading, Sequence: n}})
		if i.waits == Appended { // the attempt
			i.Handle(Input{Op: Appended})
		}
		i.Handle(Input{Op: Stepped, Outputs: out})
		i.Handle(Input{Op: Appended})
		i.outs = i.outs[:0] // as a checkpoint does
	}
}

func TestHandleDoesNotAllocate(t *testing.T) {
	step := live(Config{})
	step()
	if n := testing.AllocsPerRun(1000, step); n > 0 {
		t.Fatalf("%v allocations an input", n)
	}
}

func BenchmarkInput(b *testing.B) {
	step := live(Config{})
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}
