package jsonsink

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// versions are those of one result, by job, in order of their first commits. They have files, or may get some. The one that ends
// removes all before it: so it stands first, and a version that has a record and does not stand here was replaced, whatever it
// commits later.
//
// A version that finds others when it begins writes its files beside them, in a folder of our own. With its end its record says
// that it replaces them; whoever loads the record next (it itself, any other version of the result before it commits, whoever
// opens the folder) puts its files into place and removes theirs. Each step may be done twice, so a kill between two of them
// changes nothing.
type versions struct {
	pipeline.Origin                 // of the newest
	Jobs            []schemas.JobID `json:"jobs"`
}

func (s *store) versionsFile(of pipeline.Origin) string {
	key := fmt.Sprintf("%s %q %q %q", s.key, of.Pipeline, of.Item, of.Stage)
	if s.together {
		key += " " + string(of.Job)
	}
	h := sha256.Sum256([]byte(key))
	return fmt.Sprintf("%s/%x.json", versionsFolder, h[:12])
}

func (s *store) readVersions(file string) (v versions, err error) {
	err = s.read(file, &v)
	if errors.Is(err, fs.ErrNotExist) {
		return versions{}, nil
	}
	return v, err
}

// versions are those of a result once all that is to be done for any of them is done.
func (s *store) versions(of pipeline.Origin) (versions, error) {
	file := s.versionsFile(of)
	v, err := s.readVersions(file)
	if err != nil || len(v.Jobs) == 0 || len(v.Jobs) == 1 && v.Jobs[0] == of.Job {
		return v, err
	}
	for _, job := range v.Jobs {
		if _, err := s.load(schemas.ChainID{Job: job, Stage: of.Stage}); err != nil {
			return v, err
		}
	}
	return s.readVersions(file)
}

// enter says whether a version is there, and was not replaced. One that has no cursor yet begins.
func (s *store) enter(of pipeline.Origin, r *record) (there bool, err error) {
	v, err := s.versions(of)
	if err != nil || r.ShutOut || len(r.Cursor.Edges) > 0 {
		return slices.Contains(v.Jobs, of.Job), err
	}
	return true, s.begin(of, r, v)
}

// begin makes a version the newest one. A kill may have it stand there without a record: it begins again then, or never.
func (s *store) begin(of pipeline.Origin, r *record, v versions) error {
	older := slices.DeleteFunc(v.Jobs, func(job schemas.JobID) bool { return job == of.Job })
	r.Versions, r.Beside = s.versionsFile(of), len(older) > 0
	for _, job := range of.After {
		if s.together {
			break // each has files of its own
		}
		if err := s.shutOut(schemas.ChainID{Job: job, Stage: of.Stage}); err != nil {
			return err
		}
	}
	v = versions{Origin: of, Jobs: append(older, of.Job)}
	return s.write(r.Versions, v, durable)
}

// shutOut leaves word for an older version that has not begun.
func (s *store) shutOut(id schemas.ChainID) error {
	r, err := s.load(id)
	if err != nil || len(r.Cursor.Edges) > 0 || r.ShutOut {
		return err
	}
	return s.write(s.recordFile(id), record{ID: id, ShutOut: true}, durable)
}

// supersede puts a version's files into place and removes those of all older ones.
func (s *store) supersede(r *record) error {
	v, err := s.readVersions(r.Versions)
	if err != nil {
		return err
	}
	of := pipeline.Origin{ChainID: r.ID, Pipeline: v.Pipeline, Item: v.Item}
	if r.Beside {
		for _, file := range r.Files {
			if err := s.moveIn(of, r.place(file), file); err != nil {
				return err
			}
		}
	}
	if at := slices.Index(v.Jobs, of.Job); at > 0 {
		for _, job := range v.Jobs[:at] {
			if err := s.removeVersion(schemas.ChainID{Job: job, Stage: of.Stage}); err != nil {
				return err
			}
		}
		v.Jobs = v.Jobs[at:]
		if err := s.write(r.Versions, v, durable); err != nil {
			return err
		}
	}
	r.Beside, r.Replaces = false, false
	return nil
}

// moveIn puts a file that was beside older ones into place. Its owner is told first: nobody takes it for an older version's then.
func (s *store) moveIn(of pipeline.Origin, beside, file string) error {
	if _, err := s.root.Stat(beside); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was moved
		}
		return err
	}
	if err := s.claim(of, false, file); err != nil {
		return err
	}
	if err := s.root.MkdirAll(path.Dir(file), 0o755); err != nil {
		return err
	}
	s.before("move " + file)
	if err := s.root.Rename(beside, file); err != nil {
		return err
	}
	return s.syncFolder(file)
}

// removeVersion removes the files of a replaced version. Its record keeps the cursor.
func (s *store) removeVersion(id schemas.ChainID) error {
	var r record
	if err := s.read(s.recordFile(id), &r); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was killed before its first commit was stored
		}
		return err
	}
	for _, file := range r.Files {
		if err := s.remove(besideFile(id, file)); err != nil {
			return err
		}
		if o, err := s.owner(file); err != nil || o.ChainID != id || o.Sink != s.key {
			if err != nil {
				return err
			}
			continue // the newer one has it
		}
		if err := s.remove(file); err != nil {
			return err
		}
		if err := s.remove(ownerFile(file)); err != nil {
			return err
		}
	}
	return s.write(s.recordFile(id), record{ID: r.ID, Cursor: r.Cursor, Sequence: r.Sequence}, durable)
}

// remove removes a file, if it is there, for good.
func (s *store) remove(file string) error {
	s.before("remove " + file)
	if err := s.root.Remove(file); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return s.syncFolder(file)
}

func besideFile(id schemas.ChainID, file string) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", id.Job, id.Stage, file))
	return fmt.Sprintf("%s/%x", besideFolder, h[:16])
}

// place is where a chain's file is: until it has ended, beside those of an older version.
func (r *record) place(file string) string {
	if r.Beside {
		return besideFile(r.ID, file)
	}
	return file
}

// add notes a file of the chain.
func (r *record) add(file string) {
	if at, found := slices.BinarySearch(r.Files, file); !found {
		r.Files = slices.Insert(r.Files, at, file)
	}
	if r.Bytes == nil {
		r.Bytes = map[string]int64{}
	}
}
