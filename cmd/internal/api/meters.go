package api

import (
	"sync"
	"time"

	"github.com/milepost-dev/milepost/pipeline/engine"
)

const (
	sampleEvery = time.Second
	samples     = 300             // kept: five minutes
	rateOver    = 3 * time.Second // what a rate is the mean of
)

// meters remembers what the engine's nodes had counted at each of the last samples; rates and histories are differences.
type meters struct {
	mu    sync.Mutex
	at    []time.Time
	nodes map[string][]nodeSample // by pipeline/stage, as many as at
	bytes map[string][]int64      // of the recordings' files, read so far, by pipeline; likewise
}

// nodeSample is what a node had counted at one time, and how far behind it was.
type nodeSample struct {
	engine.NodeStatus
	lag int64
}

func newMeters() *meters {
	return &meters{nodes: map[string][]nodeSample{}, bytes: map[string][]int64{}}
}

// take adds a sample. The engine's nodes and pipelines are the same every time.
func (m *meters) take(at time.Time, list []nodeSample, bytes map[string]int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = last(append(m.at, at))
	for _, n := range list {
		k := n.Pipeline + "/" + n.Stage
		m.nodes[k] = last(append(m.nodes[k], n))
	}
	for name, n := range bytes {
		m.bytes[name] = last(append(m.bytes[name], n))
	}
}

// window is the samples that a rate is made of; false before there are two. m.mu is held.
func (m *meters) window() (from, to int, ok bool) {
	to = len(m.at) - 1
	if to < 1 {
		return 0, 0, false
	}
	from = to - 1
	for from > 0 && m.at[to].Sub(m.at[from-1]) <= rateOver {
		from--
	}
	return from, to, true
}

// bytesRate is the mean over rateOver before the last sample; 0 where less is read than before, as when another run begins.
func (m *meters) bytesRate(pipeline string) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to, ok := m.window()
	list := m.bytes[pipeline]
	if !ok || to >= len(list) {
		return 0
	}
	return max(0, float64(list[to]-list[from])/m.at[to].Sub(m.at[from]).Seconds())
}

func last[T any](list []T) []T {
	if len(list) > samples {
		return append(list[:0], list[len(list)-samples:]...)
	}
	return list
}

// rates are what a node did in each second of late.
type rates struct {
	In, Out, OutBytes float64 // per second
	Retried           bool
}

// rates is the mean over rateOver before the last sample; zero before there are two.
func (m *meters) rates(key string) rates {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to, ok := m.window()
	list := m.nodes[key]
	if !ok || to >= len(list) {
		return rates{}
	}
	return between(list[from], list[to], m.at[to].Sub(m.at[from]))
}

func between(a, b nodeSample, d time.Duration) rates {
	s := d.Seconds()
	if s <= 0 {
		return rates{}
	}
	per := func(x, y int64) float64 { return float64(y-x) / s }
	return rates{In: per(a.In+a.FarIn, b.In+b.FarIn), Out: per(a.Out+a.FarOut, b.Out+b.FarOut), OutBytes: per(a.OutBytes, b.OutBytes),
		Retried: b.Retries > a.Retries}
}

// A History is what one stage did in the last minutes: equally long lists, oldest first.
type History struct {
	Pipeline string      `json:"pipeline"`
	Stage    string      `json:"stage"`
	At       []time.Time `json:"at"`
	InRate   []float64   `json:"in_per_s"`
	OutRate  []float64   `json:"out_per_s"`
	P50      []float64   `json:"p50_ms"`
	P95      []float64   `json:"p95_ms"`
	Errors   []int64     `json:"errors"` // in each interval
	Lag      []int64     `json:"lag"`
}

// history is false for a stage that no sample has.
func (m *meters) history(pipeline, stage string) (History, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := History{Pipeline: pipeline, Stage: stage, At: []time.Time{}, InRate: []float64{}, OutRate: []float64{}, P50: []float64{},
		P95: []float64{}, Errors: []int64{}, Lag: []int64{}}
	list := m.nodes[pipeline+"/"+stage]
	for i := 1; i < len(list); i++ {
		a, b := list[i-1], list[i]
		r := between(a, b, m.at[i].Sub(m.at[i-1]))
		h.At = append(h.At, m.at[i].UTC())
		h.InRate, h.OutRate = append(h.InRate, r.In), append(h.OutRate, r.Out)
		h.P50, h.P95 = append(h.P50, millis(b.StepP50)), append(h.P95, millis(b.StepP95))
		h.Errors, h.Lag = append(h.Errors, b.Errors-a.Errors), append(h.Lag, b.lag)
	}
	return h, len(list) > 0
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
