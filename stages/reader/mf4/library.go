package mf4

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages/reader/dbc"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
	"github.com/milepost-dev/milepost/stages/reader/mf4/binding"
)

// A library is the bindings of a configuration and the bus databases they name. It is read-only once made.
type library struct {
	set     *binding.Set
	signals map[string]binding.Ref // of every recording
	dirs    []string               // where databases are looked for
	dbs     map[string]*dbc.Database
	sums    map[string][]byte // of the databases' text
	hold    *mdf.Hold         // of all open recordings; nil: each has its own
}

// Codes of faults that lint finds in what a configuration names.
const (
	codeBinding = "E-binding" // the bindings file
	codeDBC     = "E-dbc"     // a bus database
	codePaths   = "E-paths"   // no recording, or two of one name
)

// newLibrary reads the bindings file and every database, and checks the one against the other. The error joins all faults, a
// *pipeline.FieldError each.
func newLibrary(c Config) (*library, error) {
	lib := &library{set: &binding.Set{}, signals: c.Signals, dbs: map[string]*dbc.Database{}, sums: map[string][]byte{}}
	var errs []error
	if c.Bindings != "" {
		set, err := binding.Load(c.Bindings)
		for _, e := range each(err) {
			errs = append(errs, &pipeline.FieldError{Path: "bindings", Code: codeBinding, Err: e})
		}
		if set == nil {
			return nil, errors.Join(errs...)
		}
		lib.set = set
		dir := filepath.Dir(c.Bindings)
		lib.dirs = append(lib.dirs, dir, filepath.Join(dir, "dbc"))
	}
	lib.dirs = append(append(lib.dirs, c.DBCDir...), ".")
	bad := map[string]bool{"": true} // databases of which enough was said
	for _, w := range lib.messages() {
		if !bad[w.dbc] {
			errs = append(errs, lib.check(w, c, bad)...)
		}
	}
	return lib, errors.Join(errs...)
}

// each splits what errors.Join made.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// A wanted message is one use of a database by a binding.
type wanted struct {
	at      string // place in the bindings
	dbc     string
	id      uint32
	signals []string
}

// messages are all uses of databases, in a fixed order.
func (lib *library) messages() []wanted {
	var all []wanted
	ref := func(at string, r *binding.Ref) {
		if r != nil && r.IsBus() {
			names := slices.Clone(r.Parts())
			if r.ValidSignal != "" {
				names = append(names, r.ValidSignal)
			}
			all = append(all, wanted{at, r.DBC, r.ID, names})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(lib.set.Bindings)) {
		b := lib.set.Bindings[name]
		if b == nil {
			continue
		}
		name = "bindings." + name
		ref(name+".ego_speed", b.EgoSpeed)
		ref(name+".yaw_rate", b.YawRate)
		ref(name+".driver_brake", b.DriverBrake)
		all = append(all, tracks(name, b)...)
		refs(b.Signals, func(signal string, r *binding.Ref) { ref(name+".signals."+signal, r) })
	}
	refs(lib.signals, func(signal string, r *binding.Ref) { ref("signals."+signal, r) })
	return all
}

// tracks are the uses by the object list of a binding.
func tracks(name string, b *binding.Binding) (all []wanted) {
	for i := range b.Tracks {
		if t := &b.Tracks[i]; t.IsBus() {
			all = append(all, wanted{fmt.Sprintf("%s.tracks[%d]", name, i), t.DBC, t.ID, trackNames(t)})
		}
	}
	return all
}

func refs(m map[string]binding.Ref, each func(name string, r *binding.Ref)) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		r := m[name]
		each(name, &r)
	}
}

// check loads the database of a use and looks for what it names. A database that cannot be used is said once.
func (lib *library) check(w wanted, c Config, bad map[string]bool) (errs []error) {
	at, place := lib.place(w)
	db, err := lib.database(w.dbc)
	if err != nil {
		bad[w.dbc] = true
		if len(c.DBCDir) > 0 {
			at = "dbc_dir"
		}
		return databaseErrors(at, place, err)
	}
	fail := func(err error) {
		errs = append(errs, &pipeline.FieldError{Path: at, Code: codeBinding, Err: fmt.Errorf("%s%w", place, err)})
	}
	m, err := db.MessageByID(w.id)
	if err != nil {
		fail(fmt.Errorf("%w%s", err, messageHint(db, w)))
		return errs
	}
	for _, name := range w.signals {
		if _, err := m.Signal(name); err != nil {
			fail(err)
		}
	}
	return errs
}

// place is the field of the configuration that a use belongs to, and what its errors begin with.
func (lib *library) place(w wanted) (field, prefix string) {
	if strings.HasPrefix(w.at, "signals.") {
		return w.at, ""
	}
	return "bindings", lib.set.Place(w.at) + ": " + w.at + ": "
}

// maxBadLines is how many lines of a database that cannot be read are listed.
const maxBadLines = 5

func databaseErrors(at, place string, err error) (errs []error) {
	all := each(err)
	for i, e := range all {
		if i == maxBadLines {
			e = fmt.Errorf("%d more lines of this file cannot be read", len(all)-i)
		}
		errs = append(errs, &pipeline.FieldError{Path: at, Code: codeDBC, Err: fmt.Errorf("%s%w", place, e)})
		if i == maxBadLines {
			break
		}
	}
	return errs
}

// messageHint is the message that has the signals which an id without a message should have.
func messageHint(db *dbc.Database, w wanted) string {
	for _, m := range db.Messages {
		if !slices.ContainsFunc(w.signals, func(s string) bool { _, err := m.Signal(s); return err != nil }) {
			return fmt.Sprintf("; did you mean %d (%#x, %s)? It has %s", m.ID, m.ID, m.Name, strings.Join(w.signals, ", "))
		}
	}
	return ""
}

// database returns a database by the name a binding gives it, loading it at first use.
func (lib *library) database(name string) (*dbc.Database, error) {
	if db, ok := lib.dbs[name]; ok {
		return db, nil
	}
	text, file, err := lib.find(name)
	if err != nil {
		return nil, err
	}
	db, err := dbc.Load(file, text)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	lib.dbs[name], lib.sums[name] = db, sum[:]
	return db, nil
}

func (lib *library) find(name string) ([]byte, string, error) {
	var looked []string
	for _, dir := range lib.dirs {
		file := name
		if !filepath.IsAbs(name) {
			file = filepath.Join(dir, name)
		}
		text, err := binding.ReadFile(file)
		if err == nil {
			return text, file, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, file, fmt.Errorf("read bus database: %w", err)
		}
		looked = append(looked, dir)
	}
	return nil, name, fmt.Errorf("no file %q in %q; `dbc_dir` in reader/mf4 names more folders", name, looked)
}

// fingerprint stands for all that a choice of binding says: its binding, its databases, the signals of every recording.
func (lib *library) fingerprint(choice *binding.Log) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	_ = enc.Encode(lib.signals) // of plain values: cannot fail
	if choice != nil {
		_ = enc.Encode(lib.set.Bindings[choice.Binding])
		_ = enc.Encode(choice)
	}
	for _, name := range slices.Sorted(maps.Keys(lib.sums)) {
		h.Write(lib.sums[name])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
