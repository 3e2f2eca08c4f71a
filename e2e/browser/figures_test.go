//go:build browser

package browser

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

// cells is the text of a table's body, row by row, of the cells that are shown.
func (b *tab) cells(selector string) [][]string {
	b.t.Helper()
	return eval[[][]string](b, `[...document.querySelectorAll(`+strconv.Quote(selector+" tbody tr")+`)].map((r) => [...r.children].filter((c) => c.offsetParent !== null).map((c) => c.innerText.trim()))`)
}

// row finds the row that begins with a text.
func row(t *testing.T, rows [][]string, first string) []string {
	t.Helper()
	i := slices.IndexFunc(rows, func(r []string) bool {
		return len(r) > 0 && strings.Split(r[0], "\n")[0] == first
	})
	if i < 0 {
		t.Fatalf("no row %q in %q", first, rows)
	}
	return rows[i]
}

func wantIn(t *testing.T, what string, row []string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(row, w) {
			t.Errorf("%s: %q is not in %q", what, w, row)
		}
	}
}

// thousands writes a count as the pages do.
func thousands(n int) string {
	s := itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// TestFiguresAreTheAPIs compares what the pages show with what the API answers, figure by figure.
func TestFiguresAreTheAPIs(t *testing.T) {
	t.Run("pipelines", func(t *testing.T) {
		var api struct {
			Jobs        struct{ Total, Failed int }
			DeadLetters int `json:"dead_letters"`
			Events      int
			Nodes       []struct {
				Stage, Uses, State   string
				Out, Errors, Retries int
			}
		}
		world.done.ask(t, "/api/v1/pipelines/aeb-replay", &api)
		b := open(t, world.done, "/p/aeb-replay")
		b.until("document.querySelector('.graph .node')")
		for name, want := range map[string]string{"Recordings": fmt.Sprintf("%d / %d", api.Jobs.Total, api.Jobs.Total), "DLQ": itoa(api.DeadLetters), "Events": thousands(api.Events) + " stored"} {
			if got := eval[string](b, figure(name)); !strings.Contains(got, want) {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if api.Jobs.Total != 5 || api.Jobs.Failed != 1 || api.Events == 0 || len(api.Nodes) < 4 {
			t.Errorf("the run came out as %+v", api)
		}
		rows := b.cells("[aria-labelledby=stages]")
		for _, n := range api.Nodes {
			wantIn(t, n.Stage, row(t, rows, n.Stage), n.Uses, thousands(n.Out), thousands(n.Errors), thousands(n.Retries))
			if n.Out == 0 && !strings.HasPrefix(n.Uses, "sink/") {
				t.Errorf("%s emitted nothing", n.Stage)
			}
		}
	})
	t.Run("recordings", func(t *testing.T) {
		var api struct {
			Total      int
			Recordings []struct {
				Name, State string
				Events      int
				MinTTC      *float64 `json:"min_ttc"`
			}
		}
		world.done.ask(t, "/api/v1/pipelines/aeb-replay/recordings", &api)
		b := open(t, world.done, "/p/aeb-replay/recordings")
		b.until("document.querySelectorAll('main tbody tr').length >= 5")
		rows := b.cells("main")
		if len(rows) != api.Total || len(rows) != len(api.Recordings) {
			t.Errorf("%d rows, the API has %d of %d", len(rows), len(api.Recordings), api.Total)
		}
		events := 0
		for _, r := range api.Recordings {
			wantIn(t, r.Name, row(t, rows, r.Name), r.State, itoa(r.Events))
			if r.MinTTC != nil {
				wantIn(t, r.Name, row(t, rows, r.Name), fmt.Sprintf("%.2f s", *r.MinTTC))
			}
			events += r.Events
		}
		if events == 0 {
			t.Error("no recording has an event")
		}
	})
	t.Run("kpis", func(t *testing.T) {
		var api struct {
			Fleets []struct {
				Doc struct {
					Fleet map[string]struct {
						Logs, Events  int
						EventsPartial int `json:"events_partial"`
						Missed        int
						TTCHist       []int `json:"ttc_hist"`
					}
				}
			}
			Histograms []struct{ Counts []int }
			Worst      []struct{ Item string }
		}
		world.done.ask(t, "/api/v1/pipelines/aeb-replay/kpis", &api)
		b := open(t, world.done, "/p/aeb-replay/kpis")
		b.until("document.querySelectorAll('.bars').length === 2")
		all := api.Fleets[0].Doc.Fleet["all"]
		rows := b.cells(".kpis")
		wantIn(t, "recordings", row(t, rows, "Recordings")[1:2], itoa(all.Logs))
		wantIn(t, "events", row(t, rows, "AEB events")[1:2], itoa(all.Events))
		wantIn(t, "brakings", row(t, rows, "with braking")[1:2], itoa(all.EventsPartial))
		wantIn(t, "missed", row(t, rows, "missed")[1:2], itoa(all.Missed))
		if !slices.Equal(all.TTCHist, api.Histograms[0].Counts) {
			t.Errorf("the fold says %v, the store %v", all.TTCHist, api.Histograms[0].Counts)
		}
		b.run(click(`.chart .data button`))
		b.until("document.querySelector('.chart table')")
		for i, r := range b.cells(".chart") {
			if i < len(api.Histograms[0].Counts) && r[1] != thousands(api.Histograms[0].Counts[i]) {
				t.Errorf("bin %s shows %s, want %d", r[0], r[1], api.Histograms[0].Counts[i])
			}
		}
		b.run(click(`[aria-labelledby=worst] tbody a`))
		b.until("document.querySelector('h1').textContent === '" + api.Worst[0].Item + "' && document.querySelectorAll('#plots canvas').length > 0")
		b.until("/from=/.test(location.search)")
	})
	t.Run("jobs", func(t *testing.T) {
		var api struct {
			Counts map[string]int
			Jobs   []struct{ ID, Recording, State string }
		}
		world.done.ask(t, "/api/v1/jobs", &api)
		b := open(t, world.done, "/jobs")
		b.until("document.querySelectorAll('main tbody tr').length >= 5")
		rows := b.cells("main")
		for _, j := range api.Jobs {
			wantIn(t, j.ID, row(t, rows, j.ID), j.State)
		}
		b.until(fmt.Sprintf("[...document.querySelectorAll('.tabs a')].some((a) => a.textContent === 'failed %d')", api.Counts["failed"]))
	})
	t.Run("timeline", func(t *testing.T) {
		var api struct {
			T      []float64 `json:"t_s"`
			Series []struct{ Max []*float64 }
		}
		world.done.ask(t, "/api/v1/pipelines/aeb-replay/recordings/sim_full_braking.mf4/timeline?signal=ego.v&px=400", &api)
		high := 0.0
		for _, v := range api.Series[0].Max {
			if v != nil {
				high = max(high, *v)
			}
		}
		b := open(t, world.done, "/p/aeb-replay/r/sim_full_braking.mf4")
		b.until("document.querySelectorAll('.about-signal').length > 0")
		if got := eval[string](b, "document.querySelector('.about-signal').innerText"); !strings.Contains(got, fmt.Sprintf("to %.3g m/s", high)) || high < 5 {
			t.Errorf("the page says %q, the API's maximum is %v", got, high)
		}
	})
}
