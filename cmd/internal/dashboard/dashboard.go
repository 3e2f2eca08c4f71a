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

// Handler answers the assets under /assets/ and, at every other address without a file's extension, the one page that draws
// them all.
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
