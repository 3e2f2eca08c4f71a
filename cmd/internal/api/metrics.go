package api

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/milepost-dev/milepost/pipeline/engine"
)

// metrics answers in Prometheus' text format.
func (s *Server) metrics() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{s: s})
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
}

// stageMetrics are the figures of every node; names, units and kinds stand here and nowhere else.
var stageMetrics = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(engine.NodeStatus) float64
}{
	stageMetric("events_in_total", "Events taken in this process.", prometheus.CounterValue, func(n engine.NodeStatus) float64 { return float64(n.In) }),
	stageMetric("events_out_total", "Events stored in this process.", prometheus.CounterValue, func(n engine.NodeStatus) float64 { return float64(n.Out) }),
	stageMetric("bytes_in_total", "Data of the events taken [bytes].", prometheus.CounterValue, func(n engine.NodeStatus) float64 { return float64(n.InBytes) }),
	stageMetric("bytes_out_total", "Data of the events stored [bytes].", prometheus.CounterValue, func(n engine.NodeStatus) float64 { return float64(n.OutBytes) }),
	stageMetric("rows_total", "Rows and documents emitted.", prometheus.CounterValue, func(n engine.NodeStatus) float64 { return float64(n.Rows) }),
	stageMetric("errors_total", "Steps that failed.", prometheus.CounterValue, func(n engine.NodeStatus) float64 { return float64(n.Errors) }),
	stageMetric("retries_total", "Steps that were tried again.", prometheus.CounterValue, func(n engine.NodeStatus) float64 { return float64(n.Retries) }),
	stageMetric("reruns_total", "Inputs taken again after a crash or takeover.", prometheus.CounterValue, func(n engine.NodeStatus) float64 { return float64(n.Reruns) }),
	stageMetric("dead_letters_total", "Inputs given up in this process.", prometheus.CounterValue, func(n engine.NodeStatus) float64 { return float64(n.DeadLetters) }),
	stageMetric("checkpoints_total", "Checkpoints stored.", prometheus.CounterValue, func(n engine.NodeStatus) float64 { return float64(n.Checkpoints) }),
	stageMetric("step_seconds_total", "Time in the stage's own code [s].", prometheus.CounterValue, func(n engine.NodeStatus) float64 { return n.StepTotal.Seconds() }),
	stageMetric("step_p50_seconds", "Median of the steps since start [s].", prometheus.GaugeValue, func(n engine.NodeStatus) float64 { return n.StepP50.Seconds() }),
	stageMetric("step_p95_seconds", "95th percentile of the steps since start [s].", prometheus.GaugeValue, func(n engine.NodeStatus) float64 { return n.StepP95.Seconds() }),
	stageMetric("log_full", "1 while the stage's log takes no more events.", prometheus.GaugeValue, func(n engine.NodeStatus) float64 {
		if n.Full {
			return 1
		}
		return 0
	}),
	stageMetric("active_jobs", "Jobs that the stage holds now.", prometheus.GaugeValue, func(n engine.NodeStatus) float64 { return float64(n.Active) }),
}

func stageMetric(name, help string, kind prometheus.ValueType, of func(engine.NodeStatus) float64) struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(engine.NodeStatus) float64
} {
	return struct {
		desc *prometheus.Desc
		kind prometheus.ValueType
		of   func(engine.NodeStatus) float64
	}{prometheus.NewDesc("milepost_stage_"+name, help, []string{"pipeline", "stage"}, nil), kind, of}
}

var (
	lagDesc  = prometheus.NewDesc("milepost_stage_lag_events", "Events that the inputs have stored of jobs in work and the stage has not taken, in any process.", []string{"pipeline", "stage"}, nil)
	jobsDesc = prometheus.NewDesc("milepost_jobs", "Jobs by state, of the last run; those that another configuration left behind have a state of their own.", []string{"pipeline", "state"}, nil)
	infoDesc = prometheus.NewDesc("milepost_build_info", "1, with the version.", []string{"version"}, nil)
)

// collector reads the engine's meters at each scrape.
type collector struct{ s *Server }

// Describe lists the descriptions.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range stageMetrics {
		ch <- m.desc
	}
	ch <- lagDesc
	ch <- jobsDesc
	ch <- infoDesc
}

// Collect sends the figures as they are now.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(infoDesc, prometheus.GaugeValue, 1, c.s.c.Version)
	jobs := c.s.everyCurrent()
	standings := c.s.c.Engine.Standings(jobs)
	for _, n := range c.s.c.Engine.Status() {
		if n.Takes && c.s.c.Managers != nil { // a worker does not know the jobs
			ch <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, float64(standings[n.Pipeline+"/"+n.Node].Lag), n.Pipeline, n.Stage)
		}
		for _, m := range stageMetrics {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.of(n), n.Pipeline, n.Stage)
		}
	}
	for name := range c.s.c.Managers {
		byState := map[string]int{}
		for _, j := range jobs[name] {
			byState[string(j.State)]++
		}
		ch <- prometheus.MustNewConstMetric(jobsDesc, prometheus.GaugeValue, float64(c.s.leftBehind(name)), name, LeftBehind)
		for _, st := range jobStates {
			ch <- prometheus.MustNewConstMetric(jobsDesc, prometheus.GaugeValue, float64(byState[string(st)]), name, string(st))
		}
	}
}
