package jsonsink

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"
)

var placeholder = regexp.MustCompile(`\{([^{}]*)\}`)

func checkTemplate(t string, names ...string) error {
	if t == "" || strings.HasSuffix(t, "/") {
		return fmt.Errorf("%q names no file", t)
	}
	for _, m := range placeholder.FindAllStringSubmatch(t, -1) {
		if !slices.Contains(names, m[1]) {
			return fmt.Errorf("%q has no value (there are {%s})", m[0], strings.Join(names, "}, {"))
		}
	}
	if rest := placeholder.ReplaceAllString(t, ""); strings.ContainsAny(rest, "{}") {
		return fmt.Errorf("%q has a brace without its other one", t)
	}
	return nil
}

// A template is a path with placeholders: the folder before the first of them, which users vouch for, and the rest, in which
// values of recordings stand and which is opened through os.Root.
type template struct{ folder, rest string }

func newTemplate(t string) template {
	fixed := t
	if i := strings.IndexByte(t, '{'); i >= 0 {
		fixed = t[:i]
	}
	folder, _ := path.Split(filepath.ToSlash(fixed))
	return template{folder: cmp.Or(filepath.Clean(filepath.FromSlash(folder)), "."), rest: path.Clean(filepath.ToSlash(t)[len(folder):])}
}

// fleetBeside is fleet.json in the innermost folder of a template that is the same for all recordings, so that pipelines and
// stages with folders of their own have fleet results of their own; those that the file's name tells apart, in the name.
func fleetBeside(t string) string {
	parts := strings.Split(filepath.ToSlash(t), "/")
	folders := parts[:len(parts)-1]
	if i := slices.IndexFunc(folders, perRecording); i >= 0 {
		folders = folders[:i]
	}
	folder, name := strings.Join(folders, "/"), "fleet"
	for _, p := range []string{"{pipeline}", "{stage}"} {
		if strings.Contains(t, p) && !strings.Contains(folder, p) {
			name += "." + p
		}
	}
	if len(folders) == 0 {
		return name + ".json"
	}
	return folder + "/" + name + ".json"
}

// perRecording says whether a part of a path differs among the recordings of a stage.
func perRecording(part string) bool {
	return slices.ContainsFunc([]string{"{item}", "{name}", "{job}", "{type}"}, func(p string) bool { return strings.Contains(part, p) })
}

func (t template) uses(name string) bool { return strings.Contains(t.rest, "{"+name+"}") }

var errNoValue = errors.New("has no value")

// file is the path below the folder. Names are shortened where a file system would not take them otherwise.
func (t template) file(values map[string]string) (file string, err error) {
	for _, limit := range []int{maxPartBytes, 160, 60} {
		if file, err = t.expand(values, limit); err != nil || partsFit(file) {
			break
		}
	}
	return file, err
}

// maxPartBytes is what file systems take for one part of a path.
const maxPartBytes = 255

func partsFit(file string) bool {
	return !slices.ContainsFunc(strings.Split(file, "/"), func(part string) bool { return len(part) > maxPartBytes })
}

func (t template) expand(values map[string]string, limit int) (string, error) {
	var err error
	file := placeholder.ReplaceAllStringFunc(t.rest, func(m string) string {
		v := values[m[1:len(m)-1]]
		if v == "" {
			err = fmt.Errorf("%s %w", m, errNoValue)
		}
		return shortName(v, limit)
	})
	return file, err
}

// stem is a name without its extension.
func stem(name string) string {
	if s := strings.TrimSuffix(name, path.Ext(name)); s != "" && !strings.HasSuffix(s, "/") {
		return s
	}
	return name
}

// fileName encodes a name as one part of a path: as it is, but for percent escapes of what separates paths or leads out of
// the folder or to our own files, and of a percent sign that would be read as such an escape. So different names stay
// different.
func fileName(name string) string {
	var b strings.Builder
	for i, r := range name {
		size := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, size = utf8.DecodeRuneInString(name[i:])
		}
		if !refused(name, i, r, size) {
			b.WriteRune(r)
			continue
		}
		for _, c := range []byte(name[i : i+size]) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// refused says whether the rune of a name at i has to be escaped.
func refused(name string, i int, r rune, size int) bool {
	switch {
	case r == '/' || r == 0 || r == filepath.Separator || r == utf8.RuneError && size == 1:
		return true
	case r == '.':
		return i == 0 && (name == "." || name == ".." || strings.HasPrefix(name, stateFolder))
	case r == '%':
		rest := name[i+1:]
		return strings.HasPrefix(rest, "2F") || strings.HasPrefix(rest, "00") || strings.HasPrefix(rest, "25") || i == 0 && strings.HasPrefix(rest, "2E")
	}
	return runtime.GOOS == "windows" && strings.ContainsRune(`:*?"<>|`, r)
}

// shortName is fileName of at most limit bytes: a longer one ends in a hash.
func shortName(name string, limit int) string {
	full := fileName(name)
	if len(full) <= limit {
		return full
	}
	head := full[:limit-17]
	for !utf8.ValidString(head) {
		head = head[:len(head)-1]
	}
	return fmt.Sprintf("%s~%x", head, sha256.Sum256([]byte(name)))[:len(head)+17]
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
