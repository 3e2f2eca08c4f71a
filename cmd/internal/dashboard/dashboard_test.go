package dashboard

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// imported finds what a module, a style sheet or the page asks for.
var imported = regexp.MustCompile(`(?:from |import )"(\.{1,2}/[^"]+)"|(?:src|href)="(/assets/[^"]+)"`)

// TestAssetsAreComplete: everything that the page and its modules ask for is embedded, and nothing lies elsewhere.
func TestAssetsAreComplete(t *testing.T) {
	assets := load()
	for name, a := range assets {
		if strings.Contains(name, "vendor/") {
			continue
		}
		for _, m := range imported.FindAllStringSubmatch(string(a.data), -1) {
			want := path.Join(path.Dir(name), m[1])
			if m[2] != "" {
				want = strings.TrimPrefix(m[2], "/assets/")
			}
			if _, ok := assets[want]; !ok {
				t.Errorf("%s asks for %s, which is not there", name, want)
			}
		}
		if m := regexp.MustCompile(`https?://[a-z0-9.]+`).FindString(strings.ReplaceAll(string(a.data), "http://www.w3.org", "")); m != "" {
			t.Errorf("%s names %s: pages must work without a network", name, m)
		}
	}
	if len(assets) < 15 {
		t.Errorf("%d assets", len(assets))
	}
	if _, err := fs.Stat(files, "static/vendor/uPlot.LICENSE.txt"); err != nil {
		t.Error(err)
	}
}

// TestPageHasNothingInline: the policy forbids it, so it would not run.
func TestPageHasNothingInline(t *testing.T) {
	page := string(load()["index.html"].data)
	for _, bad := range []string{"<style", "style=", "onclick", "javascript:"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if regexp.MustCompile(`<script(?:[^>]*)>[^<]`).MatchString(page) {
		t.Error("the page holds a script")
	}
}

// route finds the addresses that the page draws something at.
var route = regexp.MustCompile(`(?m)^  \[/(\S+)/, \w+, \[`)

func TestAddressesAreThoseOfThePage(t *testing.T) {
	want := []string{`^/$`} // it goes on to the first pipeline
	for _, m := range route.FindAllStringSubmatch(string(load()["js/app.js"].data), -1) {
		want = append(want, strings.ReplaceAll(m[1], `\/`, "/"))
	}
	var got []string
	for _, p := range pages {
		got = append(got, p.String())
	}
	if len(want) < 7 || !slices.Equal(got, want) {
		t.Errorf("pages %q, routes of app.js %q", got, want)
	}
}

func TestAnAddressWithoutAPageIsNotFound(t *testing.T) {
	for address, want := range map[string]int{"/": 200, "/jobs": 200, "/dlq?state=all": 200, "/p/x": 200, "/p/x/": 200, "/p/x/kpis": 200, "/p/x/r/a%2Fb.mf4": 200,
		"/p/x/r/a/b.mf4": 404, "/p/x/kpi": 404, "/p": 404, "/job": 404, "/jobs/": 404, "/robots.txt": 404, "/index.html": 404} {
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, httptest.NewRequest("GET", address, nil))
		if w.Code != want || !strings.Contains(w.Body.String(), "<main") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %v, want %d and the page", address, w.Code, w.Header(), want)
		}
	}
}

func TestHandler(t *testing.T) {
	h := Handler()
	get := func(url, tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", url, nil)
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	page := get("/p/aeb-replay/r/a%2Fb.mf4", "")
	if page.Code != http.StatusOK || !strings.Contains(page.Body.String(), "<main") {
		t.Errorf("%d %s", page.Code, page.Body)
	}
	style := get("/assets/app.css", "")
	if again := get("/assets/app.css", style.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("asked again: %d, %d bytes", again.Code, again.Body.Len())
	}
	if none := get("/assets/js/none.js", ""); none.Code != http.StatusNotFound {
		t.Errorf("%d", none.Code)
	}
	if icon := get("/favicon.ico", ""); icon.Header().Get("Content-Type") != "image/svg+xml" {
		t.Errorf("%v", icon.Header())
	}
}
