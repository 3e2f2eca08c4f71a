package jsonsink

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// stateFolder holds the records and the lock. Deleting it makes the next run of a job start its files again.
const (
	stateFolder    = ".milepost"
	lockFile       = stateFolder + "/lock"
	ownerFolder    = stateFolder + "/files"
	versionsFolder = stateFolder + "/versions"
	besideFolder   = stateFolder + "/beside"
)

// A record is what is stored of one chain.
type record struct {
	ID       schemas.ChainID  `json:"id"`
	Cursor   schemas.Cursor   `json:"cursor"`
	Sequence uint64           `json:"sequence"`          // of the last batch in the files
	Bytes    map[string]int64 `json:"bytes,omitempty"`   // committed length of each file of lines
	Pending  []change         `json:"pending,omitempty"` // documents that may not be in place yet
	Files    []string         `json:"files,omitempty"`   // that it has written, sorted

	Versions string `json:"versions,omitempty"` // file of the result's versions
	Beside   bool   `json:"beside,omitempty"`   // its files are not in place, an older version's are
	Replaces bool   `json:"replaces,omitempty"` // it has ended; older versions may be there still
	ShutOut  bool   `json:"shut_out,omitempty"` // a newer version began before it did: it never gets any files
}

// A change is the new content of a file, or lines behind what it has.
type change struct {
	File    string `json:"file"`
	Lines   bool   `json:"-"`
	Content []byte `json:"content"`
}

// store is a folder of files with their records. locked excludes other goroutines and other processes; all other methods are
// called within it.
type store struct {
	root     *os.Root
	key      string // of the sink among those of the folder: they store a chain each for itself
	lock     *os.File
	together bool // the versions of a result stay beside each other: their files have names of their own

	mu     sync.Mutex
	closed bool
	before func(step string) // tests kill here, before each durable step
}

func openStore(folder, path string) (*store, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, pipeline.FileError("make the folder of results "+folder, err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, pipeline.FileError("open the folder of results "+folder, err)
	}
	s := &store{root: root, key: keyOf(path), before: func(string) {}}
	for _, own := range []string{ownerFolder, versionsFolder, besideFolder} {
		if err := root.MkdirAll(own, 0o755); err != nil {
			return nil, errors.Join(pipeline.FileError("make "+own+" in the folder of results "+folder, err), root.Close())
		}
	}
	if s.lock, err = root.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return nil, errors.Join(pipeline.FileError("open the lock in the folder of results "+folder, err), root.Close())
	}
	if err := s.locked(s.recover); err != nil {
		return nil, errors.Join(fmt.Errorf("recover the folder of results %s: %w", folder, err), s.close())
	}
	return s, nil
}

func (s *store) locked(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fs.ErrClosed
	}
	if err := flock(s.lock); err != nil {
		return fmt.Errorf("lock the folder of results: %w", err)
	}
	defer funlock(s.lock)
	return f()
}

// recover puts into place what a kill of this sink kept from there.
func (s *store) recover() error {
	entries, err := fs.ReadDir(s.root.FS(), stateFolder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := stateFolder + "/" + e.Name()
		if !strings.HasPrefix(e.Name(), s.key+".") {
			continue
		}
		var r record
		if err := s.read(name, &r); err != nil {
			return err
		}
		if err := s.settle(name, &r); err != nil {
			return err
		}
	}
	return nil
}

// keyOf is a sink's name in its folder, by where its files go.
func keyOf(path string) string {
	h := sha256.Sum256([]byte(path))
	return fmt.Sprintf("%x", h[:6])
}

func (s *store) recordFile(id schemas.ChainID) string {
	return stateFolder + "/" + s.key + "." + fileName(string(id.Job)) + "." + fileName(id.Stage) + ".json"
}

// load returns the chain's record, an empty one when there is none.
func (s *store) load(id schemas.ChainID) (record, error) {
	var r record
	err := s.read(s.recordFile(id), &r)
	if errors.Is(err, fs.ErrNotExist) {
		return record{ID: id}, nil
	}
	if err == nil {
		err = s.settle(s.recordFile(id), &r)
	}
	return r, err
}

func (s *store) read(name string, into any) error {
	data, err := s.root.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func (s *store) write(name string, from any, last bool) error {
	data, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return s.replace(name, data, last)
}

// settle does what a record says is to be done still, and says in the record that it is done: it cuts off lines that no cursor
// covers, puts pending documents into place, and removes older versions.
func (s *store) settle(name string, r *record) error {
	for _, file := range sortedKeys(r.Bytes) {
		if err := s.cut(r, file, r.Bytes[file]); err != nil {
			return fmt.Errorf("cut %s to its committed length: %w", file, err)
		}
	}
	if len(r.Pending) == 0 && !r.Replaces {
		return nil
	}
	for _, c := range r.Pending {
		mine, err := s.holds(r, c.File)
		if err == nil && mine {
			err = s.replace(r.place(c.File), c.Content, durable)
		}
		if err != nil {
			return err
		}
	}
	r.Pending = nil
	if r.Replaces {
		if err := s.supersede(r); err != nil {
			return fmt.Errorf("put %s in the place of older versions: %w", r.ID, err)
		}
	}
	return s.write(name, r, !durable) // should this be forgotten, the same is done once more
}

// cut shortens a chain's file of lines to its committed length, unless a newer job of the item has taken the file over.
func (s *store) cut(r *record, file string, size int64) error {
	at := r.place(file)
	info, err := s.root.Stat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // append will say so if the job goes on
	}
	if err != nil || info.Size() <= size {
		return err
	}
	if mine, err := s.holds(r, file); err != nil || !mine {
		return err
	}
	return s.change(at, func(f *os.File) error { return f.Truncate(size) })
}

// holds says whether what is where a chain has a file is the chain's.
func (s *store) holds(r *record, file string) (bool, error) {
	if r.Beside {
		return true, nil
	}
	o, err := s.owner(file)
	return o.ChainID == r.ID && o.Sink == s.key, err
}

// commit stores changes and record together: lines are not there before the record covers them, a document stands in the
// record until it is in place. The record is that of the cursor from; to is the one it gets.
func (s *store) commit(of pipeline.Origin, r record, to schemas.Cursor, changes []change) error {
	there, err := s.enter(of, &r)
	if err != nil {
		return err
	}
	r.Cursor = to.Clone()
	if !there {
		return s.write(s.recordFile(r.ID), r, durable)
	}
	for _, c := range changes {
		if err := s.claim(of, r.Beside, c.File); err != nil {
			return err
		}
		r.add(c.File)
		if !c.Lines {
			r.Pending = append(r.Pending, c)
			continue
		}
		if err := s.append(r.place(c.File), c.Content, r.Bytes[c.File]); err != nil {
			return fmt.Errorf("append to %s: %w", c.File, err)
		}
		r.Bytes[c.File] += int64(len(c.Content))
	}
	r.Replaces = to.Ended()
	if err := s.write(s.recordFile(r.ID), r, durable); err != nil {
		return err
	}
	return s.settle(s.recordFile(r.ID), &r)
}

// restore makes files be what a finished chain left there, and counts those that were not. A version that was replaced is the
// newest one then.
func (s *store) restore(of pipeline.Origin, changes []change) (restored int, err error) {
	r, err := s.load(of.ChainID)
	if err != nil {
		return 0, err
	}
	v, err := s.versions(of)
	if err != nil {
		return 0, err
	}
	replaced := len(v.Jobs) == 0 || v.Jobs[0] != of.Job
	if replaced {
		r = record{ID: r.ID, Cursor: r.Cursor, Sequence: r.Sequence, Replaces: true}
		if err := s.begin(of, &r, v); err != nil {
			return 0, err
		}
	}
	for _, c := range changes {
		there, err := s.root.ReadFile(c.File)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, fmt.Errorf("look at %s: %w", c.File, err)
		}
		gone := err != nil || !bytes.Equal(there, c.Content)
		if gone {
			restored++
		}
		if !gone && !replaced {
			continue
		}
		if err := s.claim(of, r.Beside, c.File); err != nil {
			return 0, err
		}
		r.add(c.File)
		r.Pending = append(r.Pending, c)
		if c.Lines {
			r.Bytes[c.File] = int64(len(c.Content))
		}
	}
	if restored == 0 && !replaced {
		return 0, nil
	}
	if err := s.write(s.recordFile(r.ID), r, durable); err != nil {
		return 0, err
	}
	return restored, s.settle(s.recordFile(r.ID), &r)
}

func ownerFile(file string) string {
	h := sha256.Sum256([]byte(file))
	return fmt.Sprintf("%s/%x.json", ownerFolder, h[:12])
}

// An owner is the chain that writes a file, and the sink that does.
type owner struct {
	pipeline.Origin
	Sink string `json:"sink"`
}

func (s *store) owner(file string) (o owner, err error) {
	err = s.read(ownerFile(file), &o)
	if errors.Is(err, fs.ErrNotExist) {
		return owner{}, nil
	}
	return o, err
}

// claim makes a chain the owner of a file. Another item, stage or sink that has it means that the path does not tell them apart.
// Another job is another version: what it wrote stays as long as the new file is beside it.
func (s *store) claim(of pipeline.Origin, beside bool, file string) error {
	o, err := s.owner(file)
	switch {
	case err != nil || o.ChainID == of.ChainID && o.Pipeline == of.Pipeline && o.Item == of.Item && o.Sink == s.key:
		return err
	case o.Job == "":
	case o.Item != of.Item:
		return pipeline.Permanent(fmt.Errorf("items %q and %q would both be written to %s: use {name} in path", o.Item, of.Item, file))
	case o.Pipeline != of.Pipeline:
		return pipeline.Permanent(fmt.Errorf("pipelines %q and %q would both write %s: use {pipeline} in path", o.Pipeline, of.Pipeline, file))
	case o.Stage != of.Stage:
		return pipeline.Permanent(fmt.Errorf("stages %q and %q would both be written to %s: use {stage} in path", o.Stage, of.Stage, file))
	case o.Job == of.Job:
		return pipeline.Permanent(fmt.Errorf("two sinks would both write %s: give each a path of its own", file))
	case beside:
		return nil
	}
	return s.write(ownerFile(file), owner{of, s.key}, durable)
}

// append writes lines at the committed length of the file and drops what lies behind it.
func (s *store) append(file string, lines []byte, at int64) error {
	if err := s.root.MkdirAll(path.Dir(file), 0o755); err != nil {
		return err
	}
	return s.change(file, func(f *os.File) error {
		if info, err := f.Stat(); err != nil || info.Size() < at {
			return cmp.Or(err, fmt.Errorf("it has lost lines: %d bytes were stored", at))
		}
		if err := f.Truncate(at); err != nil {
			return err
		}
		_, err := f.WriteAt(lines, at)
		return err
	})
}

// change makes an edit of a file durable.
func (s *store) change(file string, edit func(*os.File) error) error {
	s.before("edit " + file)
	f, err := s.root.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	if err := edit(f); err != nil {
		return errors.Join(err, f.Close())
	}
	s.before("sync " + file)
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return s.syncFolder(file)
}

const durable = true

// replace makes content the file's, at once: a temporary file beside it, fsync, rename, fsync of the folder. A power cut may
// bring back the old content of one that is not durable.
func (s *store) replace(file string, content []byte, last bool) error {
	folder := path.Dir(file)
	if err := s.root.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	temporary := folder + "/." + strings.TrimSuffix(path.Base(ownerFile(file)), ".json") + ".tmp" // of the file alone, so that kills leave one at most
	s.before("write " + file)
	f, err := s.root.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	s.before("rename " + file)
	if err := s.root.Rename(temporary, file); err != nil {
		return err
	}
	if !last {
		return nil
	}
	return s.syncFolder(file)
}

func (s *store) syncFolder(file string) error {
	s.before("sync the folder of " + file)
	d, err := s.root.Open(path.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var lock error
	if s.lock != nil {
		lock = s.lock.Close()
	}
	return errors.Join(lock, s.root.Close())
}
