//go:build browser

package browser

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestScreenshots takes a picture of every page, light and dark, wide and narrow, into the folder of -screenshots.
func TestScreenshots(t *testing.T) {
	folder := *screenshots
	if folder == "" {
		folder = t.TempDir() // the pages are drawn all the same
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range pages() {
		t.Run(p.name, func(t *testing.T) {
			b := open(t, world.done, p.path)
			for _, v := range []struct {
				name  string
				width int64
				dark  bool
			}{{"light-1280", 1280, false}, {"dark-1280", 1280, true}, {"light-390", 390, false}} {
				b.run(width(v.width), dark(v.dark))
				b.until(p.ready)
				b.settle()
				b.picture(filepath.Join(folder, p.name+"-"+v.name+".png"))
			}
		})
	}
}

// TestScreenshotsRunning takes pictures while recordings are being replayed.
func TestScreenshotsRunning(t *testing.T) {
	folder := *screenshots
	if folder == "" {
		folder = t.TempDir()
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	p := replaying(t)
	for name, path := range map[string]string{"running-pipelines": "/p/aeb-replay?stage=aeb-replay%2Faeb", "running-recordings": "/p/aeb-replay/recordings",
		"running-recording": "/p/aeb-replay/r/sim_city_drive.mf4"} {
		b := open(t, p, path)
		b.until("document.querySelector('.glyph.running, .glyph.started')")
		if name == "running-recording" {
			b.until("document.querySelectorAll('#plots canvas').length > 0")
		}
		b.settle()
		b.picture(filepath.Join(folder, name+".png"))
	}
}

func (b *tab) picture(file string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil || len(png) < 2000 {
		b.t.Fatalf("a picture of %d bytes: %v", len(png), err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
