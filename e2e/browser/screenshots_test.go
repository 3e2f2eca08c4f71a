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
				png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
				if err != nil || len(png) < 2000 {
					t.Fatalf("a picture of %d bytes: %v", len(png), err)
				}
				if err := os.WriteFile(filepath.Join(folder, p.name+"-"+v.name+".png"), png, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
