package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/schemas"
)

// redraw is how often the block on a terminal is drawn anew.
const redraw = 200 * time.Millisecond

// A progress shows how a run goes, on stderr: a live block on a terminal, a line per change elsewhere, or JSON lines.
type progress struct {
	mode string
	out  io.Writer
	mu   sync.Mutex
	rows int // of the block that is on the screen
	told map[schemas.JobID]schemas.JobState
	last map[string]sample
}

// sample is what a node had done at a time, for rates.
type sample struct {
	at      time.Time
	in, out int64
}

func (a *app) newProgress(mode string) (*progress, error) {
	switch mode {
	case "auto":
		mode = "plain"
		if redrawn(a.stderr) {
			mode = "block"
		}
	case "plain", "json", "none":
	default:
		return nil, exit(ExitUsage, fmt.Errorf("--progress %s: want auto, plain, json or none", mode))
	}
	return &progress{mode: mode, out: a.stderr, told: map[schemas.JobID]schemas.JobState{}, last: map[string]sample{}}, nil
}

// logger makes log lines go above the block.
func (p *progress) logger(log *slog.Logger) *slog.Logger {
	if p.mode != "block" {
		return log
	}
	return slog.New(slog.NewTextHandler(p, &slog.HandlerOptions{ReplaceAttr: dropTime}))
}

// Write puts a log line above the block.
func (p *progress) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	return p.out.Write(line)
}

// appended prints the number of stored appends, for those who watch from outside.
func (p *progress) appended(total int64) {
	if p.mode != "json" {
		return
	}
	p.line(struct {
		Appends int64 `json:"appends"`
	}{total})
}

// totals is the last of the JSON lines: what every node has done in this process, and what that took of memory.
func (p *progress) totals(x *session, took time.Duration) {
	if p.mode != "json" {
		return
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	p.line(struct {
		Totals     []engine.NodeStatus `json:"totals"`
		TookMS     int64               `json:"took_ms"`
		Mallocs    uint64              `json:"mallocs"`
		AllocBytes uint64              `json:"alloc_bytes"`
	}{x.engine.Totals(), took.Milliseconds(), m.Mallocs, m.TotalAlloc})
}

func (p *progress) line(v any) {
	data, err := json.Marshal(v)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "%s\n", data)
}

// show follows a session until the function that it returns is called.
func (p *progress) show(x *session) (stop func()) {
	done, gone := make(chan struct{}), make(chan struct{})
	if p.mode == "plain" && len(x.before) > 0 {
		x.log.Info("already finished", "recordings", len(x.before))
	}
	go func() {
		defer close(gone)
		t := time.NewTicker(redraw)
		defer t.Stop()
		for {
			p.update(x)
			select {
			case <-done:
				p.update(x)
				p.others(x)
				return
			case <-t.C:
			}
		}
	}()
	return func() { close(done); <-gone }
}

func (p *progress) update(x *session) {
	for _, name := range x.engine.Pipelines() {
		for _, j := range x.jobs(name) {
			if p.mode != "plain" || !x.before[j.ID] {
				p.changed(x, name, j)
			}
		}
	}
	if p.mode == "block" {
		p.draw(x)
	}
}

// others tells of the jobs that are not on the run's list and that it worked on.
func (p *progress) others(x *session) {
	for _, name := range x.engine.Pipelines() {
		for _, j := range x.others(name) {
			p.changed(x, name, j)
		}
	}
}

// changed tells of a job that came to an end, once.
func (p *progress) changed(x *session, name string, j job.Job) {
	if p.told[j.ID] == j.State || !j.State.Over() {
		return
	}
	first := p.told[j.ID] == ""
	p.told[j.ID] = j.State
	switch {
	case p.mode == "json":
		p.line(map[string]any{"pipeline": name, "recording": j.Item, "job": j.ID, "state": j.State, "error": j.Error, "events": j.Events(),
			"took_ms": j.Worked.Milliseconds(), "restarts": j.Restarts})
	case p.mode == "plain" && j.State == schemas.JobFinished && first:
		args := append(append([]any{"pipeline", name, "recording", j.Item, "events", j.Events()}, x.activations(j.ID)...), "took", j.Worked.Round(time.Millisecond))
		if j.Restarts > 0 { // what was done before the last of them is not counted
			args = append(args, "restarts", j.Restarts)
		}
		x.log.Info("recording done", args...)
	case p.mode == "plain":
		x.log.Error("recording "+string(j.State), "pipeline", name, "recording", j.Item, "stage", j.Stage)
	}
}

// draw puts the block in the place of the one before.
func (p *progress) draw(x *session) {
	var b bytes.Buffer
	status, standings := x.engine.Status(), x.standings()
	for _, name := range x.engine.Pipelines() {
		p.pipeline(&b, x, name, status, standings)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.rows = bytes.Count(b.Bytes(), []byte{'\n'})
	p.out.Write(b.Bytes()) //nolint:errcheck // a terminal that is gone is no reason to stop
}

// erase takes the block off the screen; p.mu is held.
func (p *progress) erase() {
	if p.rows > 0 {
		fmt.Fprintf(p.out, "\x1b[%dA\x1b[J", p.rows)
		p.rows = 0
	}
}

func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rows = 0 // what is on the screen stays
}

// pipeline draws one pipeline: a bar, a line a stage, what is in work.
func (p *progress) pipeline(w io.Writer, x *session, name string, status []engine.NodeStatus, standings map[string]engine.Standing) {
	jobs := x.jobs(name)
	done, over, size, total := 0.0, 0, 0.0, 0.0
	var now []string
	for _, j := range jobs {
		bytes, fraction := itemBytes(j), x.engine.Progress(j.ID)
		if j.State.Over() {
			over, fraction = over+1, 1
		} else if fraction > 0 && len(now) < 4 {
			now = append(now, fmt.Sprintf("%s %.0f%%", j.Item, 100*fraction))
		}
		done, size, total = done+fraction, size+fraction*bytes, total+bytes
	}
	share := done / float64(max(1, len(jobs)))
	fmt.Fprintf(w, "%s  %s  %2.0f%%  %d/%d recordings  %s/%s\n", name, bar(share, 20), 100*share, over, len(jobs), bytesText(int64(size)), bytesText(int64(total)))
	fmt.Fprintf(w, "  %-24s %9s %9s %8s %9s %8s %5s\n", "stage", "in/s", "out/s", "lag", "p95", "retries", "dlq")
	for _, s := range status {
		if s.Pipeline == name {
			in, out := p.rates(s)
			fmt.Fprintf(w, "  %-24s %9s %9s %8d %9s %8d %5d\n", s.Stage, countText(in), countText(out), standings[name+"/"+s.Node].Lag, s.StepP95.Round(10*time.Microsecond), s.Retries, max(s.DeadLetters, halted(jobs, s.Node)))
		}
	}
	if len(now) > 0 {
		fmt.Fprintf(w, "  now  %s\n", strings.Join(now, "  "))
	}
}

// halted is how many jobs failed at a stage, in whichever process.
func halted(jobs []job.Job, node string) (n int64) {
	for _, j := range jobs {
		if j.State == schemas.JobFailed && j.Stage == node {
			n++
		}
	}
	return n
}

// rates are the events a second since the last drawing but one second at least.
func (p *progress) rates(s engine.NodeStatus) (in, out float64) {
	key, at := s.Pipeline+"/"+s.Stage, time.Now()
	old := p.last[key]
	if d := at.Sub(old.at).Seconds(); d > 0 && !old.at.IsZero() {
		in, out = float64(s.In+s.FarIn-old.in)/d, float64(s.Out+s.FarOut-old.out)/d
	}
	if at.Sub(old.at) > time.Second {
		p.last[key] = sample{at: at, in: s.In + s.FarIn, out: s.Out + s.FarOut}
	}
	return in, out
}

func itemBytes(j job.Job) float64 {
	var it pipeline.Item
	if json.Unmarshal(j.Source, &it) != nil {
		return 0
	}
	return float64(it.Bytes)
}

// bar draws a share, 0 to 1, as width characters.
func bar(share float64, width int) string {
	n := int(share*float64(width) + 0.5)
	return strings.Repeat("█", n) + strings.Repeat("░", width-n)
}
