//go:build browser

package browser

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// replaying starts a process of its own that reads at twenty times the recordings' speed.
func replaying(t *testing.T) *process {
	t.Helper()
	folder := t.TempDir()
	if err := makeDrives(folder); err != nil {
		t.Fatal(err)
	}
	p, err := start(world.binary, folder, "20x")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			if err := p.stop(); err != nil {
				t.Error(err)
			}
		}
	})
	return p
}

// TestLiveUpdates: what happens in the replay arrives on pages that were opened before it did.
func TestLiveUpdates(t *testing.T) {
	p := replaying(t)
	recording := open(t, p, "/p/aeb-replay/r/sim_city_drive.mf4")
	recording.until(figure("Length") + " && document.querySelector('#link').innerText.includes('live')")
	recording.run(chromedp.Evaluate[chromedp.Void]("window.opened = true"))
	pipelines := open(t, p, "/p/aeb-replay")
	pipelines.until("document.querySelector('.graph .node.running')")
	pipelines.run(chromedp.Evaluate[chromedp.Void](`window.opened = true; window.first = document.querySelector("[data-figure=Events] small").textContent`))
	pipelines.until(`document.querySelector("[data-figure=Events] small").textContent !== first`)
	recording.until("document.querySelectorAll('#plots canvas').length > 0")
	recording.until("Number(" + figure("AEB events") + ") >= 1 && document.querySelectorAll('[aria-labelledby=events] tbody tr').length >= 1")
	recording.until(figure("State") + ".includes('finished')")
	for _, b := range []*tab{recording, pipelines} {
		if !eval[bool](b, "window.opened === true") {
			t.Error("the page was loaded again")
		}
	}
	var d struct {
		Events int `json:"events"`
	}
	p.ask(t, "/api/v1/pipelines/aeb-replay/recordings/sim_city_drive.mf4", &d)
	if got := eval[string](recording, figure("AEB events")); !strings.HasPrefix(got, itoa(d.Events)) || d.Events == 0 {
		t.Errorf("the page shows %q events, the API says %d", got, d.Events)
	}
}

// figure is the text of a figure on the page.
func figure(name string) string {
	return `document.querySelector('[data-figure="` + name + `"]').textContent`
}

// TestDisconnected: a page whose server is gone says so and how old its data is, and keeps showing it.
func TestDisconnected(t *testing.T) {
	p := replaying(t)
	b := open(t, p, "/p/aeb-replay/recordings")
	b.until("document.querySelectorAll('main tbody tr').length >= 5")
	if err := p.cmd.Process.Signal(os.Kill); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	b.until("/disconnected, data is \\d+ s old/.test(document.querySelector('#link').innerText)")
	if rows := eval[int](b, "document.querySelectorAll('main tbody tr').length"); rows < 5 {
		t.Errorf("%d rows are left of the data", rows)
	}
}

// TestOneStream: a page holds one event stream, whatever was clicked, and none while it is hidden.
func TestOneStream(t *testing.T) {
	const spy = `window.streams = []; const Real = window.EventSource;
		window.EventSource = class extends Real { constructor(u) { super(u); streams.push(this); } };`
	b := open(t, world.done, "/p/aeb-replay")
	b.until("document.querySelector('.graph .node')")
	b.run(chromedp.Evaluate[chromedp.Void](spy))
	for _, link := range []string{"Recordings", "KPIs", "Jobs", "DLQ", "Pipelines"} {
		b.run(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll("header nav a")].find((a) => a.textContent.startsWith("` + link + `")).click()`))
		b.until("streams.filter((s) => s.readyState !== 2).length === 1 && !document.querySelector('.loading')")
	}
	b.run(chromedp.Evaluate[chromedp.Void](`Object.defineProperty(document, "hidden", {value: true, configurable: true}); document.dispatchEvent(new Event("visibilitychange"))`))
	b.until("streams.every((s) => s.readyState === 2) && document.querySelector('#link').innerText.includes('paused')")
	b.run(chromedp.Evaluate[chromedp.Void](`Object.defineProperty(document, "hidden", {value: false, configurable: true}); document.dispatchEvent(new Event("visibilitychange"))`))
	b.until("streams.filter((s) => s.readyState === 1).length === 1 && document.querySelector('#link').innerText.includes('live')")
	if u := eval[string](b, "streams.at(-1).url"); !strings.Contains(u, "last_event_id=") {
		t.Errorf("the stream was not resumed: %s", u)
	}
}

// TestNothingFromElsewhere: pages ask this server alone, and its policy holds scripts from elsewhere and inline ones off.
func TestNothingFromElsewhere(t *testing.T) {
	b := open(t, world.done, "/p/aeb-replay/r/sim_full_braking.mf4")
	b.until("document.querySelectorAll('#plots canvas').length > 0")
	if other := eval[[]string](b, `performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !n.startsWith(location.origin))`); len(other) > 0 {
		t.Errorf("asked for %v", other)
	}
	res, err := http.Get(world.done.url + "/p/aeb-replay")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if p := res.Header.Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") || strings.Contains(p, "unsafe") {
		t.Errorf("policy %q", p)
	}
}

// TestAPageThatCannotBeLoadedKeepsSayingSo: what else changes on the page takes nothing of that away.
func TestAPageThatCannotBeLoadedKeepsSayingSo(t *testing.T) {
	p := replaying(t)
	none := open(t, p, "/p/aeb-replay/r/none.mf4")
	none.until("document.querySelector('[data-key=trouble]')")
	none.run(chromedp.Evaluate[chromedp.Void](`window.cleared = 0; new MutationObserver(() => {
		if (!document.querySelector("[data-key=trouble]")) window.cleared++;
	}).observe(document.getElementById("content"), { childList: true, subtree: true })`))
	pipelines := open(t, p, "/p/aeb-replay")
	for range 3 {
		pipelines.until(`document.querySelector("[data-figure=Events] small")`)
		pipelines.run(chromedp.Evaluate[chromedp.Void](`window.first = document.querySelector("[data-figure=Events] small").textContent`))
		pipelines.until(`document.querySelector("[data-figure=Events] small").textContent !== first`)
	}
	if n := eval[int](none, "window.cleared"); n != 0 || !strings.Contains(none.text(), "none.mf4") {
		t.Errorf("what is wrong was taken away %d times; the page says %q", n, none.text())
	}
}
