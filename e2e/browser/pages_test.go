//go:build browser

package browser

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

//go:embed testdata/axe/axe.min.js
var axe string

type violation struct {
	ID    string
	Help  string
	Nodes []struct {
		HTML           string
		FailureSummary string
	}
}

// TestNoViolations runs axe-core, all rules of WCAG 2.2 A and AA and its best practices, on every page in both themes and widths.
func TestNoViolations(t *testing.T) {
	for _, p := range pages() {
		for _, isDark := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s dark=%v", p.name, isDark), func(t *testing.T) {
				b := open(t, world.done, p.path, dark(isDark))
				b.until(p.ready)
				b.run(chromedp.Evaluate[chromedp.Void](axe))
				for _, px := range []int64{1280, 390} {
					b.run(width(px))
					b.settle()
					b.audit(px)
				}
			})
		}
	}
}

func (b *tab) audit(px int64) {
	b.t.Helper()
	text := eval[string](b, `axe.run(document).then((r) => JSON.stringify({violations: r.violations, passes: r.passes.length}))`)
	var r struct {
		Violations []violation
		Passes     int
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		b.t.Fatal(err)
	}
	if r.Passes < 15 {
		b.t.Errorf("axe checked %d rules only", r.Passes)
	}
	for _, v := range r.Violations {
		for _, n := range v.Nodes {
			b.t.Errorf("at %d px, %s: %s\n  %.300s\n  %s", px, v.ID, v.Help, n.HTML, strings.ReplaceAll(n.FailureSummary, "\n", "\n  "))
		}
	}
}

// TestNarrowAndZoomed: nothing needs sideways scrolling at 390 px, nor at 1280 px and 200 %, where the page is 640 px wide.
func TestNarrowAndZoomed(t *testing.T) {
	for _, p := range pages() {
		t.Run(p.name, func(t *testing.T) {
			b := open(t, world.done, p.path)
			b.until(p.ready)
			for _, px := range []int64{390, 640, 1280} {
				b.run(width(px))
				b.settle()
				over := eval[[]string](b, `[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, pre, .quiet, .plots, svg, .skip"))
					.map((e) => e.outerHTML.slice(0, 120))`)
				if w := eval[int64](b, "document.documentElement.scrollWidth"); w > px || len(over) > 0 {
					t.Errorf("at %d px the page is %d px wide: %v", px, w, over)
				}
			}
		})
	}
}

// TestOneHeading: every page has one h1, which the title names, landmarks, and a skip link that comes first.
func TestOneHeading(t *testing.T) {
	for _, p := range pages() {
		t.Run(p.name, func(t *testing.T) {
			b := open(t, world.done, p.path)
			b.until(p.ready)
			got := eval[map[string]any](b, `({h1: document.querySelectorAll("h1").length, title: document.title, text: document.querySelector("h1").textContent,
				main: document.querySelectorAll("main").length, nav: document.querySelectorAll("header nav").length, inline: document.querySelectorAll("[style]:not([data-island] *):not([data-island]), script:not([src]), style").length})`)
			if got["h1"] != 1.0 || got["main"] != 1.0 || got["nav"] != 1.0 || got["inline"] != 0.0 {
				t.Errorf("%v", got)
			}
			if !strings.Contains(got["title"].(string), got["text"].(string)) {
				t.Errorf("title %q, heading %q", got["title"], got["text"])
			}
		})
	}
}
