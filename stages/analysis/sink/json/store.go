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
	stateFolder = ".milepost"
	lockFile    = stateFolder + "/lock"
	ownerFolder = stateFolder + "/files"
)

// A record is what is stored of one chain.
type record struct {
	ID       schemas.ChainID  `json:"id"`
	Cursor   schemas.Cursor   `json:"cursor"`
	Sequence uint64           `json:"sequence"`          // of the last batch in the files
	Bytes    map[string]int64 `json:"bytes,omitempty"`   // committed length of each file of lines
	Pending  []change         `json:"pending,omitempty"` // documents that may not be in place yet
}

// A change is the new content of a file, or lines behind what it has.
type change struct {
	File    string `json:"file"`
	Of      origin `json:"of"`
	Lines   bool   `json:"-"`
	Content []byte `json:"content"`
}

// An origin is what a path must tell apart besides stages; jobs of one origin are versions of each other.
type origin struct {
	Item     string `json:"item"`
	Pipeline string `json:"pipeline"`
}

// An owner is the chain that writes a file.
type owner struct {
	schemas.ChainID
	origin
}

// store is a folder of files with their records. locked excludes other goroutines and other processes; all other methods are
// called within it.
type store struct {
	root *os.Root
	lock *os.File

	mu     sync.Mutex
	closed bool
	before func(step string) // tests kill here, before each durable step
}

func openStore(folder string) (*store, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, pipeline.FileError("make the folder of results "+folder, err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, pipeline.FileError("open the folder of results "+folder, err)
	}
	s := &store{root: root, before: func(string) {}}
	if err := root.MkdirAll(ownerFolder, 0o755); err != nil {
		return nil, errors.Join(pipeline.FileError("make "+ownerFolder+" in the folder of results "+folder, err), root.Close())
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

// recover puts documents into place that a kill kept from there.
func (s *store) recover() error {
	entries, err := fs.ReadDir(s.root.FS(), stateFolder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := stateFolder + "/" + e.Name()
		if !strings.HasSuffix(name, ".json") {
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

func recordFile(id schemas.ChainID) string {
	return stateFolder + "/" + fileName(string(id.Job)) + "." + fileName(id.Stage) + ".json"
}

// load returns the chain's record, an empty one when there is none.
func (s *store) load(id schemas.ChainID) (record, error) {
	var r record
	err := s.read(recordFile(id), &r)
	if errors.Is(err, fs.ErrNotExist) {
		return record{ID: id}, nil
	}
	if err == nil {
		err = s.settle(recordFile(id), &r)
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

// settle puts a record's pending documents into place and says so in the record, and cuts off lines that no cursor covers.
func (s *store) settle(name string, r *record) error {
	for _, file := range sortedKeys(r.Bytes) {
		if err := s.cut(r.ID, file, r.Bytes[file]); err != nil {
			return fmt.Errorf("cut %s to its committed length: %w", file, err)
		}
	}
	if len(r.Pending) == 0 {
		return nil
	}
	for _, c := range r.Pending {
		if o, err := s.owner(c.File); err != nil || o.ChainID != r.ID {
			return err // a newer job has the file
		}
		if err := s.replace(c.File, c.Content, durable); err != nil {
			return err
		}
	}
	r.Pending = nil
	return s.write(name, r, !durable) // should this be forgotten, the same documents are put into place once more
}

// cut shortens a chain's file of lines to its committed length, unless a newer job of the item has taken the file over.
func (s *store) cut(id schemas.ChainID, file string, size int64) error {
	info, err := s.root.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // append will say so if the job goes on
	}
	if err != nil || info.Size() <= size {
		return err
	}
	if o, err := s.owner(file); err != nil || o.ChainID != id {
		return err
	}
	return s.change(file, func(f *os.File) error { return f.Truncate(size) })
}

// commit stores changes and record together: lines are not there before the record covers them, a document stands in the
// record until it is in place.
func (s *store) commit(id schemas.ChainID, r record, changes []change) error {
	for _, c := range changes {
		written, mine := r.Bytes[c.File]
		if err := s.claim(id, c, mine); err != nil {
			return err
		}
		if !c.Lines {
			r.Pending = append(r.Pending, c)
			continue
		}
		if err := s.append(c, written); err != nil {
			return fmt.Errorf("append to %s: %w", c.File, err)
		}
		if r.Bytes == nil {
			r.Bytes = map[string]int64{}
		}
		r.Bytes[c.File] = written + int64(len(c.Content))
	}
	if err := s.write(recordFile(id), r, durable); err != nil {
		return err
	}
	return s.settle(recordFile(id), &r)
}

// restore makes files be what a finished chain left there, and the chain their owner again; it counts those that were not.
func (s *store) restore(id schemas.ChainID, changes []change) (restored int, err error) {
	for _, c := range changes {
		there, err := s.root.ReadFile(c.File)
		if err == nil && bytes.Equal(there, c.Content) {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return restored, fmt.Errorf("look at %s: %w", c.File, err)
		}
		if err := s.claim(id, c, false); err != nil {
			return restored, err
		}
		if err := s.replace(c.File, c.Content, durable); err != nil {
			return restored, err
		}
		restored++
	}
	return restored, nil
}

func ownerFile(file string) string {
	h := sha256.Sum256([]byte(file))
	return fmt.Sprintf("%s/%x.json", ownerFolder, h[:12])
}

func (s *store) owner(file string) (o owner, err error) {
	err = s.read(ownerFile(file), &o)
	if errors.Is(err, fs.ErrNotExist) {
		return owner{}, nil
	}
	return o, err
}

// claim makes the chain the owner of a file. Another item or stage that has it means that the path does not tell them apart;
// another job of the same item is an older version, whose result is replaced.
func (s *store) claim(id schemas.ChainID, c change, mine bool) error {
	o, err := s.owner(c.File)
	switch {
	case err != nil || o.ChainID == id:
		return err
	case o.Job == "":
	case o.Item != c.Of.Item:
		return pipeline.Permanent(fmt.Errorf("items %q and %q would both be written to %s: use {name} in path", o.Item, c.Of.Item, c.File))
	case o.Pipeline != c.Of.Pipeline:
		return pipeline.Permanent(fmt.Errorf("pipelines %q and %q would both write %s: use {pipeline} in path", o.Pipeline, c.Of.Pipeline, c.File))
	case o.Stage != id.Stage:
		return pipeline.Permanent(fmt.Errorf("stages %q and %q would both be written to %s: use {stage} in path", o.Stage, id.Stage, c.File))
	case c.Lines && mine:
		return pipeline.Permanent(fmt.Errorf("job %s has written %s anew", o.Job, c.File))
	}
	return s.write(ownerFile(c.File), owner{ChainID: id, origin: c.Of}, durable)
}

// append writes lines at the committed length of the file and drops what lies behind it.
func (s *store) append(c change, at int64) error {
	if err := s.root.MkdirAll(path.Dir(c.File), 0o755); err != nil {
		return err
	}
	return s.change(c.File, func(f *os.File) error {
		if info, err := f.Stat(); err != nil || info.Size() < at {
			return cmp.Or(err, fmt.Errorf("it has lost lines: %d bytes were stored", at))
		}
		if err := f.Truncate(at); err != nil {
			return err
		}
		_, err := f.WriteAt(c.Content, at)
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
