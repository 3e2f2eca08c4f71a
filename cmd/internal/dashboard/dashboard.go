// Package dashboard holds the pages: hand-written ES modules and style sheets, embedded, with no build and no network. What
// they show they ask of package api.
package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

//go:embed static
var files embed.FS

// asset is one file as it is answered.
type asset struct {
	data []byte
	etag string
}

// pages are the addresses that the page draws something at, as in its routes (js/app.js).
var pages = []*regexp.Regexp{
	regexp.MustCompile(`^/$`),
	regexp.MustCompile(`^/p/([^/]+)/?$`),
	regexp.MustCompile(`^/p/([^/]+)/recordings$`),
	regexp.MustCompile(`^/p/([^/]+)/r/([^/]+)$`),
	regexp.MustCompile(`^/p/([^/]+)/kpis$`),
	regexp.MustCompile(`^/jobs$`),
	regexp.MustCompile(`^/dlq$`),
}

// Handler answers the assets under /assets/ and, at every other address, the one page that draws them all; where it draws
// nothing the status is 404, and the page says so.
func Handler() http.Handler {
	assets := load()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := path.Clean("/" + strings.TrimPrefix(r.URL.Path, "/assets/"))[1:]
		if !strings.HasPrefix(r.URL.Path, "/assets/") {
			name = "index.html"
		}
		if r.URL.Path == "/favicon.ico" {
			name = "icon.svg"
		}
		a, ok := assets[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if name == "index.html" && !slices.ContainsFunc(pages, func(p *regexp.Regexp) bool { return p.MatchString(r.URL.EscapedPath()) }) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(http.StatusNotFound)
			w.Write(a.data) // a client that is gone needs no answer
			return
		}
		w.Header().Set("Cache-Control", "no-cache") // asked again each time, answered from the cache by the tag
		w.Header().Set("ETag", a.etag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(a.data))
	})
}

func load() map[string]asset {
	assets := map[string]asset{}
	fs.WalkDir(files, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		assets[strings.TrimPrefix(name, "static/")] = asset{data, `"` + hex.EncodeToString(sum[:8]) + `"`}
		return nil
	})
	return assets
}
