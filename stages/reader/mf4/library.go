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
	"strconv"
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
		if set == nil {
			return nil, &pipeline.FieldError{Path: "bindings", Code: codeBinding, Err: err}
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
	if err := lib.set.Err(); err != nil {
		errs = append(errs, &pipeline.FieldError{Path: "bindings", Err: err})
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
	at      []string // the part of the bindings file, or of the configuration, that uses it
	short   bool     // it stands in the configuration
	dbc     string
	id      uint32
	signals []wantedSignal
}

// A wantedSignal is a name that the message must have; at is where it stands in the part that uses it, empty for the usual name.
type wantedSignal struct {
	at   []string
	name string
}

func (w wanted) names() (names []string) {
	for _, s := range w.signals {
		names = append(names, s.name)
	}
	return names
}

// messages are all uses of databases, in a fixed order.
func (lib *library) messages() []wanted {
	var all []wanted
	ref := func(r *binding.Ref, at ...string) {
		if r != nil && r.IsBus() {
			all = append(all, wanted{at: at, dbc: r.DBC, id: r.ID, signals: refSignals(r)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(lib.set.Bindings)) {
		b := lib.set.Bindings[name]
		if b == nil {
			continue
		}
		ref(b.EgoSpeed, "bindings", name, "ego_speed")
		ref(b.YawRate, "bindings", name, "yaw_rate")
		ref(b.DriverBrake, "bindings", name, "driver_brake")
		all = append(all, tracks(name, b)...)
		refs(b.Signals, func(signal string, r *binding.Ref) { ref(r, "bindings", name, "signals", signal) })
	}
	inFile := len(all)
	refs(lib.signals, func(signal string, r *binding.Ref) { ref(r, "signals", signal) })
	for i := range all[inFile:] {
		all[inFile+i].short = true
	}
	return all
}

func refSignals(r *binding.Ref) (all []wantedSignal) {
	if r.Signal != "" {
		all = append(all, wantedSignal{[]string{"signal"}, r.Signal})
	} else {
		for i, name := range r.Signals {
			all = append(all, wantedSignal{[]string{"signals", strconv.Itoa(i)}, name})
		}
	}
	if r.ValidSignal != "" {
		all = append(all, wantedSignal{[]string{"valid_signal"}, r.ValidSignal})
	}
	return all
}

// tracks are the uses by the object list of a binding.
func tracks(name string, b *binding.Binding) (all []wanted) {
	for i := range b.Tracks {
		if t := &b.Tracks[i]; t.IsBus() {
			all = append(all, wanted{at: []string{"bindings", name, "tracks", strconv.Itoa(i)}, dbc: t.DBC, id: t.ID, signals: trackSignals(t)})
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

// check loads the database of a use and looks for what it names. A database that cannot be used is said once. What is wrong
// with a use in the bindings file is added to that file's faults; the others are returned.
func (lib *library) check(w wanted, c Config, bad map[string]bool) (errs []error) {
	fail := func(err error, part ...string) {
		at, meant := append(slices.Clone(w.at), part...), ""
		if unknown := (*dbc.UnknownError)(nil); errors.As(err, &unknown) && len(unknown.Close) == 1 {
			meant, err = unknown.Close[0], &dbc.UnknownError{Kind: unknown.Kind, Name: unknown.Name, In: unknown.In}
		}
		if w.short {
			errs = append(errs, &pipeline.FieldError{Path: strings.Join(at, "."), Code: codeDBC, Err: err, Meant: meant})
			return
		}
		lib.set.Fault(at, codeDBC, "%v", err).Meant = meant
	}
	db, err := lib.database(w.dbc)
	if err != nil {
		bad[w.dbc] = true
		for _, e := range firstLines(each(err)) {
			fail(e, "dbc")
		}
		return errs
	}
	m, err := db.MessageByID(w.id)
	if err != nil {
		fail(fmt.Errorf("%w%s", err, messageHint(db, w)), "id")
		return errs
	}
	for _, s := range w.signals {
		if sig, err := m.Signal(s.name); err != nil {
			fail(err, s.at...)
		} else if why := sig.Undecodable(); why != "" {
			fail(fmt.Errorf("signal %s in %s:%d never has a value: %s", sig.Name, db.Name, sig.Line, why), s.at...)
		}
	}
	return errs
}

// doubts are what databases leave questionable in the messages and signals that are used, as warnings.
func (lib *library) doubts() (warnings []error) {
	told := map[string]bool{}
	for _, w := range lib.messages() {
		db := lib.dbs[w.dbc]
		if db == nil {
			continue // found by Check
		}
		m, err := db.MessageByID(w.id)
		if err != nil {
			continue // likewise
		}
		for _, d := range db.Doubts(m) {
			used := d.Signal == nil || d.Signal.Undecodable() == "" && slices.Contains(w.names(), d.Signal.Name)
			if !used || told[d.Error()] {
				continue
			}
			told[d.Error()] = true
			at := "bindings"
			if w.short {
				at = strings.Join(w.at, ".")
			}
			warnings = append(warnings, &pipeline.FieldError{Path: at, Code: "W-dbc", Err: d})
		}
	}
	return warnings
}

// maxBadLines is how many lines of a database that cannot be read are listed.
const maxBadLines = 5

func firstLines(errs []error) []error {
	if len(errs) <= maxBadLines {
		return errs
	}
	return append(errs[:maxBadLines:maxBadLines], fmt.Errorf("%d more lines of this file cannot be read", len(errs)-maxBadLines))
}

// messageHint is the message that has the signals which an id without a message should have.
func messageHint(db *dbc.Database, w wanted) string {
	names := w.names()
	for _, m := range db.Messages {
		if !slices.ContainsFunc(names, func(s string) bool { _, err := m.Signal(s); return err != nil }) {
			return fmt.Sprintf("; did you mean %d (%#x, %s)? It has %s", m.ID, m.ID, m.Name, strings.Join(names, ", "))
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
		if dir = filepath.Clean(dir); !slices.Contains(looked, dir) {
			looked = append(looked, dir)
		}
	}
	return nil, name, fmt.Errorf("no file %q in %s; `dbc_dir` in reader/mf4 names more folders", name, quoted(looked))
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
