package engine

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// A Meter counts what one node does in this process. Its fields may be read at any time.
type Meter struct {
	In, Out           atomic.Int64 // events taken and stored, without those that only mark how far a chain is
	InBytes, OutBytes atomic.Int64 // their data
	Rows              atomic.Int64 // rows and documents emitted
	Appends           atomic.Int64 // records stored, checkpoints included
	Checkpoints       atomic.Int64
	Errors, Retries   atomic.Int64 // steps that failed; steps tried again
	DeadLetters       atomic.Int64
	Reruns            atomic.Int64 // inputs taken again after a crash or takeover, as far as the chain shows it
	Active            atomic.Int64 // instances that hold a job now
	Decode, Encode    Timer        // of events
	Append            Timer        // until the broker has stored
	Step              Timer        // in the stage's own code, the encoding of what it emits included; of a sink, its writes and commits
}

// A Timer is a histogram of durations; safe for concurrent use.
type Timer struct {
	total   atomic.Int64
	buckets [128]atomic.Int64 // two for each power of two of nanoseconds
}

// Since adds the time since start.
func (t *Timer) Since(start time.Time) { t.Add(time.Since(start)) }

// Add adds one duration.
func (t *Timer) Add(d time.Duration) {
	t.total.Add(int64(d))
	t.buckets[bucketOf(d)].Add(1)
}

// Total is the sum of all durations.
func (t *Timer) Total() time.Duration { return time.Duration(t.total.Load()) }

// Quantile is the upper edge of the bucket that holds the q-quantile (0 to 1), at most 41 % above it; 0 with no durations.
func (t *Timer) Quantile(q float64) time.Duration {
	var n int64
	for i := range t.buckets {
		n += t.buckets[i].Load()
	}
	rank := int64(math.Ceil(q * float64(n)))
	for i := range t.buckets {
		if rank -= t.buckets[i].Load(); rank <= 0 && n > 0 {
			return upperEdge(i)
		}
	}
	return 0
}

func bucketOf(d time.Duration) int {
	n := uint64(max(d, 1))
	log := bits.Len64(n) - 1
	half := 0
	if log > 0 && n>>(log-1)&1 == 1 {
		half = 1
	}
	return 2*log + half
}

func upperEdge(i int) time.Duration {
	edge := math.Ldexp(1, i/2)
	if i%2 == 0 {
		return time.Duration(edge * 1.5)
	}
	return time.Duration(edge * 2)
}
