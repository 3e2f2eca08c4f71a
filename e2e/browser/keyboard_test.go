//go:build browser

package browser

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func click(selector string) step { return chromedp.Click(chromedp.CSS(selector)) }

func keys(k string) step { return chromedp.KeyEvent(k) }

// focused describes the element that has the focus.
const focused = `(document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent).trim()`

// tabTo presses Tab until the focused element's text holds a word.
func (b *tab) tabTo(word string) {
	b.t.Helper()
	var seen []string
	for range 60 {
		b.run(keys(kb.Tab))
		at := eval[string](b, focused)
		if strings.Contains(at, word) {
			if !eval[bool](b, `(() => { const e = document.activeElement, s = getComputedStyle(e), r = e.querySelector("rect"); return s.outlineStyle !== "none" || (r && getComputedStyle(r).strokeWidth === "3px") })()`) {
				b.t.Errorf("the focus on %q cannot be seen", at)
			}
			return
		}
		seen = append(seen, at)
	}
	b.t.Fatalf("no way to %q by keyboard; passed %q", word, seen)
}

// TestKeyboard goes through the dashboard without a mouse.
func TestKeyboard(t *testing.T) {
	t.Run("the skip link comes first and leads to the content", func(t *testing.T) {
		b := open(t, world.done, "/p/aeb-replay")
		b.until("document.querySelector('.graph .node')")
		b.run(keys(kb.Tab))
		if at := eval[string](b, focused); at != "Skip to content" {
			t.Errorf("first comes %q", at)
		}
		b.run(keys(kb.Enter))
		b.until("document.activeElement.id === 'content'")
	})
	t.Run("a stage is opened and closed", func(t *testing.T) {
		b := open(t, world.done, "/p/aeb-replay")
		b.until("document.querySelector('.graph .node')")
		b.tabTo("aeb, process/aeb")
		b.run(keys(kb.Enter))
		b.until("document.querySelector('.stage h2')?.textContent === 'aeb-replay/aeb' && /stage=/.test(location.search)")
		b.run(keys(kb.Escape))
		b.until("!document.querySelector('.stage')")
	})
	t.Run("from page to page, the heading gets the focus", func(t *testing.T) {
		b := open(t, world.done, "/p/aeb-replay")
		b.until("document.querySelector('.graph .node')")
		b.tabTo("Recordings")
		b.run(keys(kb.Enter))
		b.until("document.activeElement.tagName === 'H1' && document.activeElement.textContent.startsWith('Recordings')")
		b.until("document.querySelectorAll('main tbody tr').length >= 5")
		b.tabTo("sim_full_braking.mf4")
		b.run(keys(kb.Enter))
		b.until("document.activeElement.tagName === 'H1' && document.activeElement.textContent === 'sim_full_braking.mf4'")
	})
	t.Run("typing into the search keeps the focus while data arrives", func(t *testing.T) {
		b := open(t, world.done, "/p/aeb-replay/recordings")
		b.until("document.querySelectorAll('main tbody tr').length >= 5")
		b.run(click("input[name=search]"), keys("braking"))
		b.until("document.querySelectorAll('main tbody tr').length === 1 && location.search === '?search=braking'")
		if v := eval[string](b, "document.activeElement.value"); v != "braking" {
			t.Errorf("the field holds %q", v)
		}
	})
	t.Run("the timeline's cursor, zoom and events", func(t *testing.T) {
		b := open(t, world.done, "/p/aeb-replay/r/sim_full_braking.mf4")
		b.until("document.querySelectorAll('#plots canvas').length > 0")
		b.tabTo("Time cursor")
		at := func() float64 {
			v, err := strconv.ParseFloat(eval[string](b, `document.activeElement.getAttribute("aria-valuenow")`), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		b.run(keys(kb.ArrowRight), keys(kb.ArrowRight), keys(kb.ArrowRight))
		first := at()
		b.run(keys(kb.ArrowLeft))
		if second := at(); !(0 < second && second < first) {
			t.Errorf("the cursor went from %v to %v", first, second)
		}
		if text := eval[string](b, `document.activeElement.getAttribute("aria-valuetext")`); !strings.Contains(text, "ego.v") || !strings.Contains(text, "m/s") {
			t.Errorf("the cursor says %q", text)
		}
		b.run(keys("]"))
		b.until("/from=/.test(location.search)")
		if text := eval[string](b, `document.querySelector("#plots").getAttribute("aria-valuetext")`); !strings.Contains(text, "during an AEB event") {
			t.Errorf("at the event the cursor says %q", text)
		}
		b.run(keys("+"))
		b.run(keys(kb.Escape))
		b.until("!/from=/.test(location.search)")
	})
}

// TestRedrive sends the dead letter of the recording that was cut off back: asked for by name and number, run by the server.
// The recording is as it was, so it comes back.
func TestRedrive(t *testing.T) {
	p := world.done
	b := open(t, p, "/dlq")
	b.until("document.querySelectorAll('main tbody tr').length >= 1")
	b.run(click(".disclose"))
	b.until("document.querySelector('.payload')")
	b.run(chromedp.Evaluate[chromedp.Void](axe))
	b.audit(1280)
	b.tabTo("Redrive d-read")
	b.run(keys(kb.Enter))
	b.until("document.querySelector('dialog[open] h2')?.textContent === 'Redrive 1 event?'")
	b.audit(1280)
	b.run(keys(kb.Escape))
	b.until("!document.querySelector('dialog[open]')")
	var before, after struct{ Total int }
	p.ask(t, "/api/v1/dlq?state=all", &before)
	b.run(click(".filters .primary"))
	b.until("document.querySelector('dialog[open]')?.innerText.includes('1 dead letter of 1 matching')")
	b.run(click("dialog .primary"))
	b.until("[...document.querySelectorAll('.notice')].some((n) => n.textContent.includes('1 of 1') && n.textContent.includes('done'))")
	if err := p.untilDone(); err != nil {
		t.Fatal(err)
	}
	b.until("document.querySelectorAll('main tbody tr').length >= 1")
	p.ask(t, "/api/v1/dlq?state=all", &after)
	if after.Total != before.Total+1 {
		t.Errorf("%d dead letters before, %d after: the input was not taken again", before.Total, after.Total)
	}
	var open struct{ Matching int }
	p.ask(t, "/api/v1/dlq", &open)
	b.until(fmt.Sprintf("document.querySelector('.hits').textContent.startsWith('%d of %d ')", open.Matching, after.Total))
}
