package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/stages/reader/mf4/binding"
)

// Files of a corpus.
const (
	bindingsFile = "signals.json"
	fleetFile    = "fleet.json"
	readerFile   = "reader.json" // of the decoder's own test: expected, but not ours
)

// recordings are what the bindings of a folder choose.
type recordings struct {
	names   []string // files that are there, as slash-separated paths below the folder, sorted
	missing []string // named by the bindings, and not there
}

// findRecordings looks for the recordings that dir/signals.json binds. A name without wildcards is taken as it is; a pattern
// is looked for among MDF files.
func findRecordings(dir string) (*recordings, error) {
	set, err := binding.Load(filepath.Join(dir, bindingsFile))
	if err != nil {
		return nil, err
	}
	found := &recordings{}
	for _, l := range set.Logs {
		if strings.ContainsAny(l.Pattern, "*?[{") {
			continue
		}
		if st, err := os.Stat(filepath.Join(dir, filepath.FromSlash(l.Pattern))); err != nil || !st.Mode().IsRegular() {
			found.missing = append(found.missing, l.Pattern)
			continue
		}
		found.names = append(found.names, l.Pattern)
	}
	if err := found.search(dir, set); err != nil {
		return nil, err
	}
	slices.Sort(found.names)
	found.names = slices.Compact(found.names)
	if len(found.names) == 0 {
		return nil, fmt.Errorf("%s binds no recording that is in %s", bindingsFile, dir)
	}
	return found, found.distinct()
}

// search adds the MDF files of the folder that a pattern matches.
func (r *recordings) search(dir string, set *binding.Set) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type() == fs.ModeDir || !strings.EqualFold(filepath.Ext(e.Name()), ".mf4") {
			continue
		}
		if set.Match(e.Name()) != nil {
			r.names = append(r.names, e.Name())
		}
	}
	return nil
}

// distinct refuses two recordings whose results would be one file.
func (r *recordings) distinct() error {
	files := map[string]string{}
	var errs []error
	for _, name := range r.names {
		file := resultFile(name)
		if other, taken := files[file]; taken {
			errs = append(errs, fmt.Errorf("%s and %s would both be written to %s", other, name, file))
		}
		files[file] = name
	}
	return errors.Join(errs...)
}

// files are the results that there should be.
func (r *recordings) files() (files []string) {
	for _, name := range r.names {
		files = append(files, resultFile(name))
	}
	for _, name := range r.missing {
		files = append(files, resultFile(name))
	}
	return files
}

// resultFile is the file of a recording's result.
func resultFile(name string) string {
	base := filepath.Base(filepath.FromSlash(name))
	return strings.TrimSuffix(base, filepath.Ext(base)) + ".json"
}

// pattern is one glob that matches just these recordings, so that each keeps its name.
func (r *recordings) pattern() string {
	escaped := make([]string, len(r.names))
	for k, name := range r.names {
		escaped[k] = escape(name)
	}
	if len(escaped) == 1 {
		return escaped[0]
	}
	return "{" + strings.Join(escaped, ",") + "}"
}

// escape makes a path a pattern that matches only itself. A comma, which parts the names of a list, stands in a class: the
// matcher of the reader does not know an escaped one.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "{", `\{`, "}", `\}`, ",", "[,]").Replace(path)
}
