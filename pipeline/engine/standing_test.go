package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/transport/memory"
)

// standings looks at what other processes do, and says how far every node is.
func (p *process) standings() map[string]engine.Standing {
	p.t.Helper()
	jobs := map[string][]job.Job{}
	for name, m := range p.managers {
		jobs[name] = m.Jobs()
	}
	if err := p.engine.Look(p.t.Context(), jobs); err != nil {
		p.t.Fatal(err)
	}
	return p.engine.Standings(jobs)
}

// TestWhoLooksSeesWhatOtherProcessesDo has a stage run by another process than the one that shows it.
func TestWhoLooksSeesWhatOtherProcessesDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := memory.New(), newFaults(1)
		f.deaf = "pass"
		slow := parts{"pass": {step: func(ctx context.Context, s *scripted, in pipeline.Batch, out pipeline.Emitter) error {
			time.Sleep(time.Second)
			return s.echo(ctx, in, out)
		}}}
		p := boot(t, setup{yaml: straight, broker: shaky{b, f}, store: newMemorySink(), parts: slow})
		boot(t, setup{yaml: straight, broker: b.Client(), worker: true, stages: []string{"pass"}, parts: slow})
		p.submit()
		time.Sleep(30 * time.Second)
		for look, at := range map[string]map[string]engine.Standing{"the reader": p.standings(), "a newcomer": newcomer(t, b, slow).standings()} {
			read, pass := at["p/read"], at["p/pass"]
			switch {
			case pass.Open == 0 || pass.Ended > 0:
				t.Errorf("%s sees pass %+v", look, pass)
			case pass.In == 0 || pass.Out == 0 || pass.In > pass.Out+1:
				t.Errorf("%s sees %d events taken by pass, %d stored", look, pass.In, pass.Out)
			case pass.Lag == 0 || pass.Lag > read.Out:
				t.Errorf("%s sees pass %d events behind read, which stored %d", look, pass.Lag, read.Out)
			}
		}
		p.wait()
		for look, at := range map[string]map[string]engine.Standing{"the reader": p.standings(), "a newcomer": newcomer(t, b, slow).standings()} {
			for node, s := range at {
				if s.Lag != 0 || s.Open != 0 || s.Ended != 2 {
					t.Errorf("%s sees %s %+v after the end", look, node, s)
				}
			}
			if at["p/pass"].In != at["p/read"].Out || at["p/read"].Out == 0 {
				t.Errorf("%s sees %d events of read, %d taken", look, at["p/read"].Out, at["p/pass"].In)
			}
		}
	})
}

// newcomer opens the state and looks; it runs nothing.
func newcomer(t *testing.T, b *memory.Broker, p parts) *process {
	t.Helper()
	e := setup{yaml: straight, broker: b.Client(), stages: []string{"read"}, parts: p}.engine(t)
	m, err := e.Jobs(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	return &process{t: t, engine: e, managers: map[string]*job.Manager{"p": m}, manager: m}
}
