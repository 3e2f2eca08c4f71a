package signalhealth

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
)

// rows writes a table of one column: times from first in steps, values by number.
func rows(table, column string, first, step float64, n int, value func(i int) float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s]\nt %s\n", table, column)
	for i := range n {
		fmt.Fprintf(&b, "%.6f %v\n", first+float64(i)*step, value(i))
	}
	return b.String()
}

func noisy(i int) float64 { return 10 + math.Sin(float64(i)) }

type outcome struct {
	findings []Finding
	summary  Summary
}

// short is a finding as kind, signal, and its time.
func (o outcome) short() []string {
	var all []string
	for _, f := range o.findings {
		all = append(all, fmt.Sprintf("%s %s %.2f-%.2f", f.Kind, f.Signal, f.T, float64(f.TEndNS)/1e9))
	}
	return all
}

func check(t *testing.T, c Config, texts ...string) outcome {
	t.Helper()
	got := pipelinetest.Run(t, Type, c, texts...)
	var o outcome
	for i, d := range got.Docs {
		switch {
		case d.Type == schemas.HealthFinding:
			var f Finding
			if err := json.Unmarshal([]byte(d.JSON), &f); err != nil {
				t.Fatal(err)
			}
			if f.Text == "" || f.TNS > f.TEndNS || f.T != float64(f.TNS)/1e9 || !strings.HasPrefix(f.Signal, f.Table) {
				t.Errorf("finding %s", d.JSON)
			}
			o.findings = append(o.findings, f)
		case d.Type != schemas.HealthSummary || i != len(got.Docs)-1:
			t.Errorf("document %d is %s", i, d)
		default:
			if err := json.Unmarshal([]byte(d.JSON), &o.summary); err != nil {
				t.Fatal(err)
			}
		}
	}
	return o
}

func expect(t *testing.T, o outcome, want ...string) {
	t.Helper()
	if got := o.short(); !slices.Equal(got, want) {
		t.Errorf("findings:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	if int(o.summary.Findings) != len(want) {
		t.Errorf("summary counts %d findings, want %d", o.summary.Findings, len(want))
	}
}

func TestGoodSignalsHaveNoFindings(t *testing.T) {
	o := check(t, Type.Default,
		rows("ego", "v", 0, 0.02, 100, noisy)+rows("gnss", "speed", 0, 1, 2, noisy),
		rows("ego", "v", 2, 0.02, 100, noisy)+rows("gnss", "speed", 2, 1, 2, noisy))
	expect(t, o)
	if s := o.summary; s.Recording != "drive" || math.Abs(s.DurationS-3.98) > 1e-9 || len(s.Tables) != 2 || s.Tables[0].Rows != 200 || math.Abs(s.Tables[0].PeriodS-0.02) > 1e-9 ||
		*s.Tables[0].Signals[0].Max != slices.Max(values(200, noisy)) || s.Tables[0].Signals[0].Signal != "ego.v" {
		t.Errorf("summary = %+v", s)
	}
}

func values(n int, f func(i int) float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = f(i)
	}
	return v
}

func TestGaps(t *testing.T) {
	o := check(t, Type.Default,
		rows("a", "v", 0, 0.05, 10, noisy)+rows("b", "v", 0, 0.01, 200, noisy), // a stops at 0.45 s
		rows("a", "v", 0.55, 0.05, 10, noisy),                                  // exactly 100 ms: no gap
		rows("a", "v", 1.101, 0.05, 10, noisy),                                 // 101 ms
		rows("b", "v", 3, 0.01, 10, noisy))
	expect(t, o, "gap a 1.00-1.10", "gap b 1.99-3.00", "gap a 1.55-3.09")
	a := o.summary.Tables[0]
	if a.Gaps != 2 || math.Abs(a.LongestGapS-0.101) > 1e-9 {
		t.Errorf("a = %+v", a)
	}
	if f := o.findings[0]; math.Abs(*f.Value-0.101) > 1e-9 || *f.Limit != 0.1 || f.Text != "no sample of a for 0.101 s (limit 0.1 s)" {
		t.Errorf("finding = %+v", f)
	}
}

func TestSlowSignalsAreJudgedByTheirOwnPeriod(t *testing.T) {
	o := check(t, Type.Default, rows("gnss", "v", 0, 1, 30, noisy), rows("gnss", "v", 30.49, 1, 3, noisy), rows("gnss", "v", 34.49, 1, 3, noisy))
	expect(t, o, "gap gnss 32.49-34.49")
	if limit := *o.findings[0].Limit; limit != 1.5 {
		t.Errorf("limit = %v", limit)
	}
}

func TestSignalThatBeginsLate(t *testing.T) {
	o := check(t, Type.Default, rows("a", "v", 0, 0.05, 100, noisy), rows("b", "v", 5, 0.05, 30, noisy)+rows("a", "v", 5, 0.05, 30, noisy))
	expect(t, o, "gap b 0.00-5.00")
	if f := o.findings[0]; !strings.Contains(f.Text, "until 5.000 s after") {
		t.Errorf("text = %s", f.Text)
	}
}

func TestGapsOfOneTable(t *testing.T) {
	c := Type.Default
	long, short := 10*time.Second, 30*time.Millisecond
	c.Signals = map[string]Limits{"a": {MaxGap: &long}, "b": {MaxGap: &short}}
	o := check(t, c, rows("a", "v", 0, 0.02, 40, noisy)+rows("b", "v", 0, 0.02, 40, noisy), rows("a", "v", 2, 0.02, 2, noisy)+rows("b", "v", 0.82, 0.02, 61, noisy))
	expect(t, o, "gap b 0.78-0.82")
}

func TestFrozenSignals(t *testing.T) {
	at := func(constant float64) func(i int) float64 {
		return func(i int) float64 {
			if i >= 20 && i <= 120 { // 1 s to 6 s
				return constant + 0
			}
			return noisy(i)
		}
	}
	short := func(i int) float64 {
		if i >= 20 && i < 120 && i != 70 {
			return 3
		}
		return noisy(i)
	}
	text := rows("a", "v", 0, 0.05, 150, at(7.5)) + rows("b", "v", 0, 0.05, 150, at(0)) + rows("c", "v", 0, 0.05, 150, short) +
		rows("d", "on", 0, 0.05, 150, func(i int) float64 { return float64(1 - i/120) }) + rows("e", "v", 0, 0.05, 150, func(i int) float64 { return 3 })
	o := check(t, Type.Default, text)
	expect(t, o, "frozen a.v 1.00-6.00", "frozen e.v 0.00-7.45")
	if f := o.findings[0]; *f.Value != 7.5 || *f.Limit != 5 || f.Count != 101 || f.Text != "a.v is 7.5 for 5.000 s (limit 5 s)" {
		t.Errorf("finding = %+v", f)
	}
	if s := o.summary.Tables[0].Signals[0]; s.Frozen != 1 {
		t.Errorf("summary = %+v", s)
	}
	c, never := Type.Default, time.Duration(0)
	c.Signals = map[string]Limits{"a.v": {FrozenAfter: &never}, "e": {FrozenAfter: &never}}
	expect(t, check(t, c, text))
}

func TestSilenceIsNotFrozen(t *testing.T) {
	o := check(t, Type.Default, "[a]\nt v\n0 3.3\n0.05 3.3", "[a]\nt v\n20 3.3\n20.05 3.3")
	expect(t, o, "gap a 0.05-20.00")
}

func TestRanges(t *testing.T) {
	c := Type.Default
	low, high := -5.0, 12.0
	c.Signals = map[string]Limits{"v": {Max: &high}, "a.v": {Min: &low}}
	bad := func(i int) float64 {
		switch {
		case i >= 5 && i < 8:
			return 12 + float64(i) // the worst is the last
		case i == 20:
			return -5.5
		case i == 30:
			return 12
		}
		return 5 + math.Sin(float64(i))
	}
	o := check(t, c, rows("a", "v", 0, 0.05, 40, bad)+rows("b", "w", 0, 0.05, 40, bad))
	expect(t, o, "range a.v 0.25-0.35", "range a.v 1.00-1.00")
	if f := o.findings[0]; f.Count != 3 || *f.Value != 19 || *f.Limit != 12 || f.Text != "a.v is 19, which cannot be (-5 to 12)" {
		t.Errorf("finding = %+v", f)
	}
	if f := o.findings[1]; *f.Value != -5.5 || *f.Limit != -5 {
		t.Errorf("finding = %+v", f)
	}
	if s := o.summary.Tables[0].Signals[0]; s.OutOfRange != 4 || *s.Min != -5.5 || *s.Max != 19 {
		t.Errorf("summary = %+v", s)
	}
}

func TestRangesOfTheStreamsAreKnown(t *testing.T) {
	kmh := func(i int) float64 { return 130 + math.Sin(float64(i)) } // as if km/h were m/s
	o := check(t, Type.Default, rows("ego", "v", 0, 0.05, 40, kmh)+rows("other", "x", 0, 0.05, 40, func(i int) float64 { return 1e6 + noisy(i) }))
	expect(t, o, "range ego.v 0.00-1.95")
}

func TestEmptySlotsOfATrackHaveNoValues(t *testing.T) {
	var b strings.Builder
	b.WriteString("[track02]\nt x y r valid new\n")
	for i := range 200 {
		valid := 1
		if i >= 20 && i < 180 {
			valid = 0 // what stands in an empty slot does not matter
		}
		x := noisy(i)
		if valid == 0 {
			x = 655.35
		}
		fmt.Fprintf(&b, "%.3f %v %v %v %d 0\n", float64(i)*0.05, x, noisy(i), -noisy(i), valid)
	}
	o := check(t, Type.Default, b.String())
	expect(t, o)
	if s := o.summary.Tables[0].Signals; s[0].Values != 40 || s[3].Values != 200 || s[3].Signal != "track02.valid" {
		t.Errorf("summary = %+v", s)
	}
}

func TestNoNumberIsNoValue(t *testing.T) {
	o := check(t, Type.Default, rows("a", "v", 0, 0.05, 200, func(i int) float64 {
		if i%10 == 3 {
			return math.NaN()
		}
		return 4
	}))
	expect(t, o)
	if s := o.summary.Tables[0].Signals[0]; s.Values != 180 {
		t.Errorf("summary = %+v", s)
	}
}

func TestWhatADamagedRecordingLacksIsSaid(t *testing.T) {
	o := check(t, Type.Default, rows("a", "v", 0, 0.05, 100, noisy)+`
[faults.a]
t behind invalid dropped cut lost until group
1 0 0 0 1 252 1.75 3
2 0 0 0 1 1 2.05 3
4.95 0 0 0 1 40 NaN 3`)
	expect(t, o, "cut a 1.00-1.75", "cut a 2.00-2.05", "cut a 4.95-4.95")
	for i, want := range []string{"of a (channel group 3) 252 records are lost, from 1.000 to 1.750 s", "1 record is lost", "last that can be read; 40 records are lost behind it"} {
		if i < len(o.findings) && !strings.Contains(o.findings[i].Text, want) {
			t.Errorf("%s, want %s", o.findings[i].Text, want)
		}
	}
	if !o.summary.Tables[0].Cut || o.findings[0].Count != 252 {
		t.Errorf("%+v", o.summary)
	}
}

func TestFaultsOfTheReader(t *testing.T) {
	o := check(t, Type.Default, rows("a", "v", 0, 0.05, 100, noisy)+`
[faults.a]
t behind invalid dropped cut
0.1 0.2 0 0 0
0.5 1.5 0 1 0
1.6 0.1 0 0 0
2 0 1 1 0
3 0 1 1 0
4.9 0 0 0 1
[faults.b]
t behind invalid dropped cut
2.5 0 1 1 0`)
	expect(t, o, "step_back a 0.10-0.50", "cut a 4.90-4.90", "invalid a 2.00-3.00", "step_back a 1.60-1.60", "invalid b 2.50-2.50")
	if f := o.findings[1]; f.Text != "the recording is damaged; of a (channel group 0) this is the last that can be read" {
		t.Errorf("cut = %+v", f)
	}
	if f := o.findings[0]; f.Count != 2 || *f.Value != 1.5 || f.Text != "samples of a that step back in time: 2, by up to 1.5 s" {
		t.Errorf("step back = %+v", f)
	}
	if f := o.findings[2]; f.Count != 2 || math.Abs(*f.Value-2.0/103) > 1e-12 || *f.Limit != 0.01 {
		t.Errorf("invalid = %+v", f)
	}
	if a := o.summary.Tables[0]; a.StepsBack != 3 || a.Invalid != 2 || a.Dropped != 3 || !a.Cut || a.Rows != 100 {
		t.Errorf("a = %+v", a)
	}
	if b := o.summary.Tables[1]; b.Rows != 0 || b.InvalidShare != 1 {
		t.Errorf("b = %+v", b)
	}
}

func TestFewInvalidSamplesAreNoFinding(t *testing.T) {
	o := check(t, Type.Default, rows("a", "v", 0, 0.05, 100, noisy)+"[faults.a]\nt invalid dropped\n2 1 1")
	expect(t, o) // 1 of 101
	c := Type.Default
	c.MaxInvalid = 0
	expect(t, check(t, c, rows("a", "v", 0, 0.05, 100, noisy)+"[faults.a]\nt invalid dropped\n2 1 1"), "invalid a 2.00-2.00")
}

func TestManyFindingsAreCounted(t *testing.T) {
	c := Type.Default
	c.MaxFindings = 3
	o := check(t, c, rows("a", "v", 0, 0.05, 30, noisy)+rows("b", "v", 0, 0.05, 200, noisy), rows("b", "v", 10, 0.05, 30, noisy)+rows("a", "v", 10, 0.2, 8, noisy))
	if len(o.findings) != 3 || o.summary.Findings != 8 || o.summary.Reported != 3 || o.summary.ByKind[KindGap] != 8 {
		t.Errorf("%d findings, summary %+v", len(o.findings), o.summary)
	}
}

func TestNothing(t *testing.T) {
	o := check(t, Type.Default)
	expect(t, o)
	if o.summary.Tables == nil || o.summary.ByKind == nil {
		t.Errorf("summary = %+v", o.summary)
	}
}

func TestFindingsDoNotDependOnSlices(t *testing.T) {
	bad := func(i int) float64 {
		switch {
		case i%37 == 0:
			return 500
		case i > 100 && i < 230:
			return 9
		}
		return noisy(i)
	}
	texts := []string{
		rows("ego", "v", 0, 0.05, 100, bad) + rows("yaw", "rate", 0.01, 0.04, 100, bad) + "[faults.ego]\nt behind invalid dropped cut\n0.1 0.2 0 0 0\n0.9 1.5 1 1 0\n",
		rows("ego", "v", 5.3, 0.05, 200, bad) + "[faults.yaw]\nt behind invalid dropped cut\n6 0 1 1 0\n",
		rows("ego", "v", 16, 0.05, 200, bad) + rows("yaw", "rate", 16.01, 0.04, 100, bad) + rows("late", "z", 17, 0.01, 60, bad),
	}
	pipelinetest.TestProcessor(t, Type, Type.Default, pipelinetest.Batches(t, schemas.Signals, texts...), pipelinetest.SliceIndependent)
}

func TestWrongConfigurationIsRefused(t *testing.T) {
	one, two, back := 1.0, 2.0, -time.Second
	for _, change := range []func(c *Config){
		func(c *Config) { c.MaxGap = 0 }, func(c *Config) { c.FrozenAfter = back }, func(c *Config) { c.MaxInvalid = 1.1 }, func(c *Config) { c.MaxInvalid = math.NaN() },
		func(c *Config) { c.MaxFindings = 0 }, func(c *Config) { c.Signals = map[string]Limits{"a": {Min: &two, Max: &one}} },
		func(c *Config) { c.Signals = map[string]Limits{"a": {MaxGap: &back}} }, func(c *Config) { c.Signals = map[string]Limits{"a": {FrozenAfter: &back}} },
	} {
		c := Type.Default
		change(&c)
		if _, err := Type.Assemble(t.Context(), &c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	parts, err := Type.Assemble(t.Context(), &Type.Default)
	if err != nil {
		t.Fatal(err)
	}
	p, err := parts.Processor(t.Context(), pipeline.Item{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Restore(t.Context(), []byte("{")); err == nil {
		t.Error("damage is restored")
	}
}

func TestSamplesWithoutATimeAreAFinding(t *testing.T) {
	o := check(t, Type.Default, rows("a", "v", 0, 0.05, 100, noisy)+`
[faults.a]
t behind invalid dropped cut lost until group
1 NaN 1 1 0 0 0 0
1.5 NaN 1 1 0 0 0 0
4 NaN 1 1 0 0 0 0`)
	var found []Finding
	for _, f := range o.findings {
		if f.Kind == KindTime {
			found = append(found, f)
		}
	}
	if len(found) != 2 || found[0].T != 1 || found[0].Count != 2 || found[1].T != 4 || found[1].Count != 1 || o.summary.ByKind[KindTime] != 2 {
		t.Fatalf("findings = %+v", o.findings)
	}
	if !strings.Contains(found[0].Text, "samples of a whose time is no number, or none that a recording can have: 2, the first behind 1.000 s") {
		t.Error(found[0].Text)
	}
}
