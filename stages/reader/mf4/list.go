package mf4

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages/reader/mf4/binding"
)

// Keys of Item.Params that this reader sets.
const (
	ParamAEB         = "aeb"          // the `params` of the binding: an object, as AEB.md section 2 names its keys
	ParamDuplicateOf = "duplicate_of" // the item that shows the same drive: left out of fleet results
	ParamTracks      = "tracks"       // number of slots of the binding's object list, so that one without a sample counts 0
)

// LabelBinding is the label with the name of the item's binding; absent for a recording bound by `signals` alone.
const LabelBinding = "binding"

// A lister lists recordings. It remembers the identity of files, so that listing again does not read them again.
type lister struct {
	mu    sync.Mutex
	known map[string]known // by path
}

// known is what a file looked like when its content was hashed.
type known struct {
	size     int64
	changed  time.Time
	identity string
}

// list finds the recordings of a configuration, in order of their names.
func (l *lister) list(ctx context.Context, c Config) ([]pipeline.Item, error) {
	lib, err := newLibrary(c)
	if err != nil {
		return nil, err
	}
	files, err := c.files()
	if err != nil {
		return nil, err
	}
	var items []pipeline.Item
	for _, name := range slices.Sorted(maps.Keys(files)) {
		choice := lib.set.Match(name)
		if choice == nil && len(c.Signals) == 0 {
			continue // said by Config.Warnings
		}
		it, err := l.item(ctx, lib, c, name, files[name], choice)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	if len(items) == 0 {
		return nil, c.noneBound(slices.Sorted(maps.Keys(files)))
	}
	return items, nil
}

// noneBound says that no recording is bound, so that nothing would be replayed.
func (c Config) noneBound(found []string) error {
	return &pipeline.FieldError{Path: "bindings", Code: codeBinding, Err: fmt.Errorf("no entry of `logs` in %s fits %s that paths finds, "+
		"so nothing would be replayed; an entry \"*.mf4\": {binding: NAME} fits every recording", c.Bindings, some("recording", found))}
}

// strays are recordings that no binding chooses, and choices that name no recording.
func (c Config) strays() (unbound, absent []string, err error) {
	if c.Bindings == "" {
		return nil, nil, nil
	}
	set, err := binding.Load(c.Bindings)
	if err != nil {
		return nil, nil, err
	}
	files, err := c.files()
	if err != nil {
		return nil, nil, err
	}
	chosen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if choice := set.Match(name); choice != nil {
			chosen[choice.Pattern] = true
		} else if len(c.Signals) == 0 {
			unbound = append(unbound, name)
		}
	}
	for _, l := range set.Logs {
		if !chosen[l.Pattern] && !strings.ContainsAny(l.Pattern, "*?[{") {
			absent = append(absent, l.Pattern)
		}
	}
	return unbound, absent, nil
}

// files are the recordings by name: the path below the part of the glob that has no wildcards. The error joins a
// *pipeline.FieldError for each glob that is at fault.
func (c Config) files() (map[string]string, error) {
	files := map[string]string{}
	var errs []error
	for i, pattern := range c.Paths {
		fail := func(format string, args ...any) {
			errs = append(errs, &pipeline.FieldError{Path: "paths." + strconv.Itoa(i), Code: codePaths, Err: fmt.Errorf(format, args...)})
		}
		found, _, err := glob(pattern)
		if err != nil {
			fail("%q: %w", pattern, err)
		} else if len(found) == 0 {
			fail("%q matches no file; the working directory is %s", pattern, workingDir())
		}
		for _, name := range slices.Sorted(maps.Keys(found)) {
			if !utf8.ValidString(name) {
				fail("%q is not UTF-8, which events, results and the dashboard need names to be: rename it", found[name])
				continue
			}
			if other, taken := files[name]; taken && !sameFile(other, found[name]) {
				fail("%s and %s would both be named %q; write one glob for both, such as {a,b}/*.mf4", other, found[name], name)
				break
			}
			files[name] = found[name]
		}
	}
	return files, errors.Join(errs...)
}

// glob finds files by name, and what has such a name and is none: a pipe or a device, whose reader could wait for ever. **
// does not go into symbolic links: they may lead in circles.
func glob(pattern string) (files map[string]string, special []string, err error) {
	base, rest := doublestar.SplitPattern(filepath.ToSlash(pattern))
	matches, err := globIn(os.DirFS(base), rest)
	if err != nil {
		return nil, nil, belowBase(base, err)
	}
	files = make(map[string]string, len(matches))
	for _, m := range matches {
		file := filepath.Join(base, filepath.FromSlash(m))
		st, err := os.Stat(file)
		switch {
		case err != nil || st.Mode().IsRegular(): // what cannot be read is a recording too, whose job fails
			files[m] = file
		case !st.IsDir():
			special = append(special, file)
		}
	}
	return files, special, nil
}

// globIn finds files. A folder that cannot be read is an error: what lies in it would be left out, and nobody would know.
func globIn(folder fs.FS, pattern string) ([]string, error) {
	return doublestar.Glob(folder, binding.AnyCase(pattern), doublestar.WithFilesOnly(), doublestar.WithNoFollow(), doublestar.WithFailOnIOErrors())
}

// belowBase says of an error about a path below a folder which folder that is.
func belowBase(base string, err error) error {
	p := (*fs.PathError)(nil)
	if !errors.As(err, &p) {
		return err
	}
	return fmt.Errorf("cannot read %s: %w; give the user of milepost access to it, or write a glob that leaves it out",
		filepath.Join(base, filepath.FromSlash(p.Path)), p.Err)
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

func workingDir() string {
	dir, err := os.Getwd()
	if err != nil {
		return "unknown"
	}
	return dir
}

// item describes one recording. A file that cannot be read is an item too: its job fails and says why, the others go on.
func (l *lister) item(ctx context.Context, lib *library, c Config, name, file string, choice *binding.Log) (pipeline.Item, error) {
	it := pipeline.Item{Name: name, URL: file, Labels: maps.Clone(c.Labels), Params: map[string]json.RawMessage{}}
	if it.Labels == nil {
		it.Labels = map[string]string{}
	}
	content, size, err := l.identify(ctx, file)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return it, err
	}
	it.Bytes = size
	if choice != nil {
		maps.Copy(it.Labels, choice.Labels)
		it.Labels[LabelBinding] = choice.Binding
		params, err := lib.set.AllParams(choice)
		if err != nil {
			return it, fmt.Errorf("%s: params of %s: %w", c.Bindings, name, err)
		}
		if params != nil {
			it.Params[ParamAEB] = params
		}
		if choice.DuplicateOf != "" {
			it.Params[ParamDuplicateOf], _ = json.Marshal(choice.DuplicateOf)
		}
	}
	if b := lib.effective(name); slots(&b) > 0 {
		it.Params[ParamTracks], _ = json.Marshal(slots(&b))
	}
	it.Identity = content + ofBinding + lib.fingerprint(choice)
	return it, nil
}

// ofBinding stands in an item's identity between what stands for the file's content and what stands for its binding.
const ofBinding = " binding:"

// hasChanged says whether a file is another one than the item that was listed: going on in the middle of it would make results of
// two recordings. Of a large file only the size is compared: another machine's copy has a time of change of its own, which is
// part of what stands for its content.
func (l *lister) hasChanged(ctx context.Context, it pipeline.Item, file string) (bool, error) {
	listed, _, ok := strings.Cut(it.Identity, ofBinding)
	if !ok || listed == unreadable {
		return false, nil // not of this lister, or nothing is known of it
	}
	st, err := os.Stat(file)
	switch {
	case err != nil:
		return false, nil // opening it will say why
	case st.Size() != it.Bytes:
		return true, nil
	case st.Size() > wholeBytes:
		return false, nil
	}
	now, _, err := l.identify(ctx, file)
	return err == nil && now != listed, ctx.Err()
}

// unreadable is the identity of what cannot be read.
const unreadable = "unreadable"

// Files up to wholeBytes are identified by all of their content; of larger ones, reading which would take longer than
// replaying the part that is wanted, size, time of change and sampled blocks are.
const (
	wholeBytes  = 64 << 20
	sampleBytes = 64 << 10
	samples     = 64
)

// identify is the function identify for a file that has changed since it was last asked for.
func (l *lister) identify(ctx context.Context, file string) (string, int64, error) {
	st, err := os.Stat(file)
	if err != nil {
		return unreadable, 0, err
	}
	l.mu.Lock()
	k, ok := l.known[file]
	l.mu.Unlock()
	if ok && k.size == st.Size() && k.changed.Equal(st.ModTime()) {
		return k.identity, k.size, nil
	}
	if !st.Mode().IsRegular() {
		return unreadable, 0, pipeline.ErrNotRegular
	}
	identity, size, err := identify(ctx, file)
	if err != nil || size != st.Size() || time.Since(st.ModTime()) < settled {
		return identity, size, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		l.known = map[string]known{}
	}
	l.known[file] = known{size, st.ModTime(), identity}
	return identity, size, nil
}

// settled is how long ago a file must have changed for its time to tell the next change: clocks of file systems are coarse.
const settled = 2 * time.Second

// identify returns what stands for the content of a file, and its size. A file that cannot be read has an identity too.
func identify(ctx context.Context, file string) (string, int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return unreadable, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return unreadable, 0, err
	}
	h := sha256.New()
	if st.Size() <= wholeBytes {
		_, err = io.Copy(h, reader{ctx, f})
	} else {
		fmt.Fprintf(h, "%d %d ", st.Size(), st.ModTime().UnixNano())
		err = hashSamples(ctx, h, f, st)
	}
	if err != nil {
		return unreadable, st.Size(), err
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), st.Size(), nil
}

// hashSamples writes evenly spread blocks, the first and the last included.
func hashSamples(ctx context.Context, w io.Writer, f io.ReaderAt, st fs.FileInfo) error {
	step := (st.Size() - sampleBytes) / (samples - 1)
	for i := range int64(samples) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.Copy(w, io.NewSectionReader(f, i*step, sampleBytes)); err != nil {
			return err
		}
	}
	return nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
