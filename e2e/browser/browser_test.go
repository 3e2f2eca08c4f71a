//go:build browser

package browser

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

var screenshots = flag.String("screenshots", "", "folder for pictures of every page")

// world is what all tests share: a process whose recordings are through, and a browser.
var world struct {
	binary  string
	done    *process
	browser context.Context
}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	folder, err := os.MkdirTemp("", "milepost-browser-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(folder)
	if world.binary, err = build(folder); err != nil {
		return 1, err
	}
	if err := makeDrives(folder); err != nil {
		return 1, err
	}
	close, err := openBrowser()
	if err != nil {
		return 1, err
	}
	defer close()
	if world.done, err = start(world.binary, folder, "max"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, world.done.stop()) }()
	if err := world.done.untilDone(); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func makeDrives(folder string) error {
	d := filepath.Join(folder, "drives")
	if err := os.Mkdir(d, 0o700); err != nil {
		return err
	}
	return drives(d)
}

// untilDone follows the status stream until no job is queued or started.
func (p *process) untilDone() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	return p.stream(ctx, "status", func(sections map[string]any) bool {
		shell, ok := sections["shell"].(map[string]any)
		if !ok {
			return false
		}
		for _, pl := range shell["pipelines"].([]any) {
			jobs := pl.(map[string]any)["jobs"].(map[string]any)
			if jobs["total"].(float64) == 0 || jobs["queued"].(float64)+jobs["started"].(float64) > 0 {
				return false
			}
		}
		return true
	})
}

// openBrowser starts Chromium; without one the tests fail.
func openBrowser() (func(), error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, errors.New("no chromium: apt-get install chromium fonts-dejavu-core")
	}
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-background-networking", true))
	ctx, stop := chromedp.NewContext(alloc)
	if err := chromedp.Do(ctx); err != nil {
		stop()
		stopAlloc()
		return nil, fmt.Errorf("start chromium (apt-get install chromium fonts-dejavu-core): %w", err)
	}
	world.browser = ctx
	return func() { stop(); stopAlloc() }, nil
}

// tab is a page of its own. Any error that its scripts throw, and any resource refused to them, fails the test.
type tab struct {
	t   *testing.T
	ctx context.Context
	p   *process
}

// nowhere is an address without a page.
const nowhere = "/no/such/page"

type step = chromedp.Action[chromedp.Void]

func open(t *testing.T, p *process, path string, before ...step) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(world.browser)
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	b := &tab{t: t, ctx: ctx, p: p}
	var mu sync.Mutex
	var wrong []string
	err := chromedp.Listen(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			wrong = append(wrong, e.ExceptionDetails.Text+" "+fmt.Sprint(e.ExceptionDetails.Exception.Description))
		case *log.EventEntryAdded:
			if e.Entry.Level == "error" {
				wrong = append(wrong, e.Entry.Text+" "+e.Entry.URL)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		cancel()
		mu.Lock()
		defer mu.Unlock()
		for _, w := range wrong {
			isNowhere := path == nowhere && strings.HasSuffix(w, "404 (Not Found) "+p.url+nowhere) // and is answered as such
			if !strings.Contains(w, "net::ERR_") && !isNowhere {                                   // a server that went away is what a test is about
				t.Errorf("%s: %s", path, w)
			}
		}
	})
	b.run(append(before, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(p.url+path))...)
	return b
}

func (b *tab) run(steps ...step) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("%v\n%s", err, b.text())
	}
}

// text is what the page shows, for messages.
func (b *tab) text() string {
	short, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(short, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText.slice(0, 1500)`))
	if err != nil {
		return err.Error()
	}
	return text
}

// until waits for a condition in the page.
func (b *tab) until(condition string) {
	b.t.Helper()
	eval[bool](b, `new Promise((done, fail) => {
		const end = performance.now() + 40000;
		const look = () => {
			let v = false;
			try { v = (`+condition+`) } catch (e) { v = false }
			if (v) done(true);
			else if (performance.now() > end) fail(new Error("waited in vain for " + `+strconv.Quote(condition)+`));
			else setTimeout(look, 30);
		};
		look();
	})`)
}

// settle waits until the page has had time to draw what it knows.
func (b *tab) settle() {
	b.t.Helper()
	eval[bool](b, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(true), 200))))`)
}

// eval runs a script, and waits for the promise that it gives.
func eval[T any](b *tab, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%v\n%s", err, b.text())
	}
	return v
}

func dark(on bool) step {
	scheme := "light"
	if on {
		scheme = "dark"
	}
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
		return err
	})
}

func width(px int64) step { return chromedp.EmulateViewport(px, 900) }

// page is one address of the dashboard and what is there once it is drawn.
type page struct {
	name, path, ready string
}

// pages are all there are, over a process whose recordings are through.
func pages() []page {
	const drawn = "document.querySelectorAll('#plots canvas').length > 0"
	return []page{
		{"pipelines", "/p/aeb-replay", "document.querySelector('.graph .node') && document.querySelector('.figures')"},
		{"stage", "/p/aeb-replay?stage=aeb-replay%2Faeb", "document.querySelector('.stage .signals')"},
		{"recordings", "/p/aeb-replay/recordings", "document.querySelectorAll('main tbody tr').length >= 5"},
		{"recordings-none", "/p/aeb-replay/recordings?search=nothing-like-it", "document.querySelector('.empty')"},
		{"recording", "/p/aeb-replay/r/sim_full_braking.mf4", drawn},
		{"recording-failed", "/p/aeb-replay/r/sim_cut_off.mf4", "document.querySelector('.notice')"},
		{"recording-unknown", "/p/aeb-replay/r/never.mf4", "document.querySelector('[role=alert]')"},
		{"kpis", "/p/aeb-replay/kpis", "document.querySelectorAll('.bars').length === 2"},
		{"jobs", "/jobs", "document.querySelectorAll('main tbody tr').length >= 5"},
		{"dlq", "/dlq", "document.querySelectorAll('main tbody tr').length >= 1"},
		{"nowhere", nowhere, "document.querySelector('.empty')"},
	}
}
