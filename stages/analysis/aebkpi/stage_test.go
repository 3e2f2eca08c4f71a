package aebkpi

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
)

// batchOf writes ticks as process/aeb does.
func batchOf(t *testing.T, ticks []Tick) pipeline.Batch {
	t.Helper()
	names := []string{"ok", "stage", "slot", "driver", "hard", "closing"}
	values := []string{"v", "a_e", "x", "c", "v_o", "a_o", "ttc", "ettc", "areq", "rss", "thw"}
	times := make([]int64, len(ticks))
	columns := make([]schemas.Column, 0, len(names)+len(values))
	for _, n := range names {
		columns = append(columns, schemas.Column{Name: n, Int64: make([]int64, len(ticks))})
	}
	for _, n := range values {
		columns = append(columns, schemas.Column{Name: n, Float64: make([]float64, len(ticks))})
	}
	for i, k := range ticks {
		times[i] = k.T
		for j, on := range []bool{k.OK, false, false, k.Driver, k.Hard, k.Closing} {
			if on {
				columns[j].Int64[i] = 1
			}
		}
		columns[1].Int64[i], columns[2].Int64[i] = int64(k.Stage), int64(k.Slot)
		for j, v := range []float64{k.V, k.AE, k.X, k.C, k.VO, k.AO, k.TTC, k.ETTC, k.AReq, k.RSS, k.THW} {
			columns[len(names)+j].Float64[i] = v
		}
	}
	table, err := schemas.NewTable(tickTable, times, columns...)
	if err != nil {
		t.Fatal(err)
	}
	slice := schemas.Slice{Start: pipelinetest.Start, From: time.Duration(times[0]), To: time.Duration(times[len(times)-1] + step)}
	return pipeline.Batch{Type: schemas.AEBTicks, Slice: slice, Tables: []pipeline.Table{table}}
}

func recordingOf(t *testing.T, ticks []Tick) []pipeline.Batch {
	t.Helper()
	var batches []pipeline.Batch
	for rest := ticks; len(rest) > 0; {
		n := min(len(rest), 37)
		batches = append(batches, batchOf(t, rest[:n]))
		rest = rest[n:]
	}
	inputs := pipeline.Batch{Type: schemas.AEBInputs, Slice: batches[len(batches)-1].Slice,
		Docs: []pipeline.Doc{pipeline.Doc(`{"ego":5,"yaw":4,"brake":3,"tracks":{"0":2,"11":7},"late":1}`)}}
	return append(batches, inputs)
}

func TestStage(t *testing.T) {
	pipelinetest.TestProcessor(t, Type, Type.Default, recordingOf(t, drawTicks(11)))
}

func run(t *testing.T, cfg Config, it pipeline.Item, batches []pipeline.Batch) (Result, string) {
	t.Helper()
	parts, err := Type.Assemble(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := parts.Processor(t.Context(), it)
	if err != nil {
		t.Fatal(err)
	}
	var rec pipelinetest.Recorder
	for _, b := range batches {
		if err := p.Process(t.Context(), b, &rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Finish(t.Context(), &rec); err != nil {
		t.Fatal(err)
	}
	got := rec.Batches(t)
	if len(got) != 1 || got[0].Type != schemas.AEBKPI || len(got[0].Docs) != 1 {
		t.Fatalf("emitted %+v", got)
	}
	var r Result
	if err := json.Unmarshal(got[0].Docs[0], &r); err != nil {
		t.Fatal(err)
	}
	return r, string(got[0].Docs[0])
}

func TestStageEmitsTheResult(t *testing.T) {
	ticks := drawTicks(11)
	got, text := run(t, Type.Default, pipeline.Item{Name: "x"}, recordingOf(t, ticks))
	want := evaluate(ticks)
	want.InputSamples = InputSamples{5, 4, 3, map[int]int64{0: 2, 11: 7}}
	if d := cmp.Diff(want.KPIs, got.KPIs, sameFloats); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want.Events, got.Events, sameFloats); d != "" || got.Log != "x" || len(got.Events) == 0 {
		t.Error(d)
	}
	if d := cmp.Diff(want.InputSamples, got.InputSamples); d != "" {
		t.Error(d)
	}
	for _, part := range []string{`"input_samples":{"ego":5,"yaw":4,"brake":3,"tracks":{"0":2,"11":7}}`, `"slot":null,"stage":0}`} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	if _, text := run(t, Type.Default, pipeline.Item{Name: "x"}, nil); !strings.Contains(text, `"tracks":{}},`) || !strings.Contains(text, `"events":[],"ticks_every_100th":[]}`) {
		t.Errorf("of nothing: %s", text)
	}
}

func TestParamsReachTheEstimate(t *testing.T) {
	ticks := quiet(100)
	target(ticks, 1, 50, 5)
	stages(ticks[20:40], 2)
	outcome := func(params map[string]json.RawMessage) float64 {
		r, _ := run(t, Type.Default, pipeline.Item{Name: "x", Params: params}, recordingOf(t, ticks))
		return r.Events[0].Counterfactual.MinGap
	}
	base := outcome(nil)
	seen := map[float64]string{base: "default"}
	for _, p := range []string{`{"cf_delay_ticks":9}`, `{"cf_decel":[null,null,2,null]}`, `{"cf_ramp":1}`, `{"cf_max_ticks":3}`} {
		flat := map[string]json.RawMessage{}
		if err := json.Unmarshal([]byte(p), &flat); err != nil {
			t.Fatal(err)
		}
		nested := outcome(map[string]json.RawMessage{"aeb": json.RawMessage(p)})
		if at := outcome(flat); at != nested {
			t.Errorf("%s: flat %v, nested %v", p, at, nested)
		}
		if other, taken := seen[nested]; taken {
			t.Errorf("%s changes nothing against %s", p, other)
		}
		seen[nested] = p
	}
}

func TestWrongConfigurationIsRefused(t *testing.T) {
	for _, change := range []func(c *Config){
		func(c *Config) { c.Delay = 10 * time.Millisecond }, func(c *Config) { c.Delay = -50 * time.Millisecond }, func(c *Config) { c.Length = 0 },
		func(c *Config) { c.Length = 70 * time.Millisecond }, func(c *Config) { c.Ramp = 0 }, func(c *Config) { c.Full = -1 },
	} {
		cfg := Type.Default
		change(&cfg)
		var field *pipeline.FieldError
		if _, err := Type.Assemble(t.Context(), &cfg); !errors.As(err, &field) || field.Path == "" {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	for _, p := range []string{`{"cf_decel":[1,2]}`, `{"cf_ramp":"x"}`, `{"cf_max_ticks":0}`, `[]`} {
		parts, err := Type.Assemble(t.Context(), &Type.Default)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parts.Processor(t.Context(), pipeline.Item{Params: map[string]json.RawMessage{"aeb": json.RawMessage(p)}})
		if !pipeline.IsPermanent(err) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if got := Type.Default.closedLoop(); got != standard {
		t.Errorf("defaults = %+v", got)
	}
}

func TestStageRefusesOtherTables(t *testing.T) {
	for _, text := range []string{"t a\n0 1", "[tick]\nt v\n0 1"} {
		parts, err := Type.Assemble(t.Context(), &Type.Default)
		if err != nil {
			t.Fatal(err)
		}
		p, err := parts.Processor(t.Context(), pipeline.Item{})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Process(t.Context(), pipelinetest.Batches(t, schemas.AEBTicks, text)[0], nil); !pipeline.IsPermanent(err) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func result(name string, change func(k *KPIs), events ...Event) pipeline.Result {
	r := Result{Log: name, KPIs: KPIs{Log: name, Duration: 10, Distance: 2, Events: len(events), EventsPartial: 1, EventsFull: 1, Verdicts: Verdicts{1, 2, 3, 4},
		Missed: 1, HardBrakeWithTarget: 2, TTCNone: 3, RSSViolation: 0.5, CFAvoided: 1, CFCollision: 2, CFUndetermined: 3}, Events: events}
	r.KPIs.TTCHist[4], r.KPIs.AReqHist[5] = 7, 8
	change(&r.KPIs)
	doc, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return pipeline.Result{Item: pipeline.Item{Name: name}, Docs: []pipeline.Doc{doc}}
}

func TestFleet(t *testing.T) {
	f := func(v float64) *float64 { return &v }
	event := func(driver, reduction float64) Event {
		return Event{DriverMinus: f(driver), Counterfactual: &Counterfactual{SpeedReduction: reduction}}
	}
	none := func(*KPIs) {}
	duplicate := result("real_twin.mf4", none)
	duplicate.Item.Params = map[string]json.RawMessage{"duplicate_of": json.RawMessage(`"real_b.mf4"`)}
	results := []pipeline.Result{
		result("other.mf4", none),
		result("real_a.mf4", func(k *KPIs) { k.MinETTC, k.MinTTC, k.MaxAReq = f(2), f(3), f(4) }, event(1, 5), Event{}),
		result("real_b.mf4", func(k *KPIs) { k.MinETTC, k.MaxAReq = f(1), f(3) }, event(3, 7)),
		duplicate,
		{Item: pipeline.Item{Name: "real_failed.mf4"}},
		result("renc_c.mf4", func(k *KPIs) { k.MinETTC, k.MinTTC, k.MaxAReq = f(1), f(0.5), f(9) }, event(2, 6)),
		result("sub/sim_d.mf4", func(k *KPIs) { k.Distance = 0 }),
	}
	doc, err := fold(results)
	if err != nil {
		t.Fatal(err)
	}
	var got FleetDocument
	if err := json.Unmarshal(doc, &got); err != nil {
		t.Fatal(err)
	}
	sum := func(n int) Group {
		g := Group{Logs: n, Duration: 10 * float64(n), Distance: 2 * float64(n), EventsPartial: n, EventsFull: n, Verdicts: Verdicts{n, 2 * n, 3 * n, 4 * n},
			Missed: int64(n), HardBrakeWithTarget: 2 * int64(n), TTCNone: 3 * int64(n), RSSViolation: 0.5 * float64(n), CFAvoided: n, CFCollision: 2 * n, CFUndetermined: 3 * n}
		g.TTCHist[4], g.AReqHist[5] = 7*int64(n), 8*int64(n)
		return g
	}
	recorded := sum(2)
	recorded.Events, recorded.WarningsPer1000km, recorded.BrakingsPer1000km, recorded.UnconfirmedPer1000k = 3, f(750), f(500), f(2000)
	recorded.MinTTC, recorded.MaxAReq, recorded.DriverMinusBrake, recorded.CFSpeedReduction = f(3), f(4), f(2), f(6)
	recorded.WorstLogs = []WorstLog{{"real_b.mf4", 1, nil, f(3), 1}, {"real_a.mf4", 2, f(3), f(4), 2}}
	simulated := sum(2)
	simulated.Distance, simulated.Events, simulated.WarningsPer1000km, simulated.BrakingsPer1000km, simulated.UnconfirmedPer1000k = 2, 1, f(500), f(1000), f(4000)
	simulated.MinTTC, simulated.MaxAReq, simulated.DriverMinusBrake, simulated.CFSpeedReduction = f(0.5), f(9), f(2), f(6)
	simulated.WorstLogs = []WorstLog{{"renc_c.mf4", 1, f(0.5), f(9), 1}}
	all := sum(5)
	all.Distance, all.Events, all.WarningsPer1000km, all.BrakingsPer1000km, all.UnconfirmedPer1000k = 8, 4, f(500), f(625), f(2500)
	all.MinTTC, all.MaxAReq, all.DriverMinusBrake, all.CFSpeedReduction = f(0.5), f(9), f(2), f(6)
	all.WorstLogs = []WorstLog{recorded.WorstLogs[0], simulated.WorstLogs[0], recorded.WorstLogs[1]}
	if d := cmp.Diff(FleetDocument{ttcEdges, areqEdges, Groups{all, recorded, simulated}}, got, sameFloats); d != "" {
		t.Error(d)
	}
}

func TestFleetOfNothing(t *testing.T) {
	doc, err := fold(nil)
	if err != nil || !strings.Contains(string(doc), `"simulated":{"logs":0,`) || !strings.Contains(string(doc), `"worst_logs":[]`) {
		t.Errorf("%s, %v", doc, err)
	}
	if _, err := fold([]pipeline.Result{{Item: pipeline.Item{Name: "x"}, Docs: []pipeline.Doc{pipeline.Doc(`[]`)}}}); err == nil {
		t.Error("a document that is no result is taken")
	}
}
