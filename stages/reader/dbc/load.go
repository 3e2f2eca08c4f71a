package dbc

import (
	"errors"
	"fmt"
	"slices"
)

const (
	maxBit       = 2048 * 8 // of the longest frame of CAN XL; bounds what a start bit or a size may say
	maxPositions = 1 << 16  // messages of a file, and signals of one
	maxSwitches  = 16       // above one signal
)

// Load reads a database. name stands in errors; text is the file as it lies on disk, UTF-8 or Windows-1252.
//
// What describes messages and signals (BO_, SG_) must be readable, or the result is an error that joins one *SyntaxError a
// line; the rest of a file (comments, attributes, nodes) decodes nothing and never makes an error.
func Load(name string, file []byte) (*Database, error) {
	statements, stray, unclosed := split(text(file))
	l := loader{db: &Database{Name: name, byKey: map[key]*Message{}}, tables: map[string][]ValueLabel{}}
	for _, s := range stray {
		l.warn(s.line, "text before the first statement")
	}
	for _, line := range unclosed {
		l.warn(line, "a string that is never closed; read to the end of its line")
	}
	for _, s := range statements {
		l.describe(s)
	}
	for _, s := range statements {
		l.refine(s)
	}
	l.finish()
	if len(l.db.Messages) == 0 && len(l.errs) == 0 {
		l.fail(1, "no message (BO_) in the file: not a DBC database?")
	}
	if len(l.errs) > 0 {
		return nil, errors.Join(l.errs...)
	}
	return l.db, nil
}

type loader struct {
	db      *Database
	current *Message // that a SG_ belongs to
	skipped bool     // the last BO_ was refused: its signals are no further errors
	tables  map[string][]ValueLabel
	errs    []error
}

func (l *loader) warn(line int, format string, args ...any) { l.doubt(nil, nil, line, format, args...) }

// doubt warns of what changes values of a message, or of one of its signals.
func (l *loader) doubt(m *Message, s *Signal, line int, format string, args ...any) {
	l.db.Warnings = append(l.db.Warnings, Warning{line, fmt.Sprintf(format, args...), m, s})
}

func (l *loader) fail(line int, format string, args ...any) {
	l.errs = append(l.errs, &SyntaxError{l.db.Name, line, fmt.Sprintf(format, args...)})
}

// describe takes the statements that others refer to.
func (l *loader) describe(s statement) {
	switch s.keyword {
	case "BO_":
		l.message(s)
	case "SG_":
		l.signal(s)
	case "VAL_TABLE_":
		if name, labels, ok := parseTable(s); ok {
			l.tables[name] = labels
		}
	}
}

func (l *loader) message(s statement) {
	h, odd, err := parseMessage(s)
	l.current, l.skipped = nil, err != nil
	if err != nil {
		l.fail(s.line, "%v", err)
		return
	}
	if odd {
		l.warn(s.line, "message %s: not as the format says, read all the same", h.name)
	}
	m := &Message{ID: h.id &^ ExtendedFlag, Extended: h.id&ExtendedFlag != 0, Name: h.name, Length: int(min(h.length, maxBit/8)),
		Sender: h.sender, Line: s.line, byName: map[string]*Signal{}}
	if !m.Extended && m.ID > maxStandardID {
		m.Extended = true
		l.doubt(m, nil, s.line, "message %s: id %d is too large for 11 bits and lacks the flag of 29-bit ids; taken as 29 bits", m.Name, m.ID)
	}
	l.add(m)
}

// add lists a message; of two with one id the later counts, as in other tools.
func (l *loader) add(m *Message) {
	k := key{m.ID, m.Extended}
	if old, ok := l.db.byKey[k]; ok {
		l.doubt(m, nil, m.Line, "message %s has the id %d of message %s in line %d, which is left out with its signals", m.Name, m.ID, old.Name, old.Line)
		l.db.Messages = slices.DeleteFunc(l.db.Messages, func(have *Message) bool { return have == old })
	}
	if len(l.db.Messages) >= maxPositions {
		l.fail(m.Line, "more than %d messages", maxPositions)
		return
	}
	l.db.byKey[k] = m
	l.db.Messages = append(l.db.Messages, m)
	l.current = m
}

func (l *loader) signal(s statement) {
	line, odd, err := parseSignal(s)
	switch {
	case err != nil:
		l.fail(s.line, "%v", err)
		return
	case l.current == nil && l.skipped:
		return
	case l.current == nil:
		l.fail(s.line, "signal %s before any message", line.name)
		return
	case line.start >= maxBit || line.size > maxBit:
		l.fail(s.line, "signal %s: start bit %d or size %d is beyond any frame", line.name, line.start, line.size)
		return
	case len(l.current.Signals) >= maxPositions:
		l.fail(s.line, "more than %d signals in message %s", maxPositions, l.current.Name)
		return
	}
	if odd {
		l.warn(s.line, "signal %s: not as the format says, read all the same", line.name)
	}
	l.addSignal(s.line, line)
}

func (l *loader) addSignal(at int, line signalLine) {
	kind := KindUnsigned
	if line.signed {
		kind = KindSigned
	}
	sig := &Signal{Name: line.name, Unit: line.unit, Start: int(line.start), Size: int(line.size), Motorola: line.motorola, Kind: kind,
		Factor: line.factor, Offset: line.offset, Min: line.min, Max: line.max, Line: at, IsSwitch: line.isSwitch}
	if line.selected {
		sig.Selected = []SwitchRange{{line.switchValue, line.switchValue}}
	}
	m := l.current
	if old, ok := m.byName[sig.Name]; ok {
		l.doubt(m, old, at, "message %s has two signals %s, lines %d and %d; by name the first is found", m.Name, sig.Name, old.Line, at)
	} else {
		m.byName[sig.Name] = sig
	}
	m.Signals = append(m.Signals, sig)
}

// refine takes the statements that say more about a signal.
func (l *loader) refine(s statement) {
	switch s.keyword {
	case "VAL_":
		if v, ok := parseLabels(s); ok {
			l.label(s, v)
		}
	case "SIG_VALTYPE_":
		l.valueType(s)
	case "SG_MUL_VAL_":
		l.selection(s)
	case "CM_":
		l.comment(s)
	case "BA_", "BA_DEF_", "BA_DEF_DEF_":
		l.db.format.attribute(s)
	}
}

// find returns the signal a statement refers to, or warns.
func (l *loader) find(s statement, id uint32, name string) *Signal {
	m, ok := l.db.Message(id, id&ExtendedFlag != 0 || id > maxStandardID)
	if !ok {
		l.warn(s.line, "%s: no message %d", s.keyword, id)
		return nil
	}
	sig, err := m.Signal(name)
	if err != nil {
		if s.keyword != "SIG_VALTYPE_" && s.keyword != "SG_MUL_VAL_" {
			m = nil // names and comments
		}
		l.doubt(m, nil, s.line, "%s: %v", s.keyword, err)
		return nil
	}
	return sig
}

func (l *loader) label(s statement, v labelsLine) {
	sig := l.find(s, v.id, v.signal)
	if sig == nil {
		return
	}
	sig.Values = v.labels
	if v.table == "" {
		return
	}
	labels, ok := l.tables[v.table]
	if !ok {
		l.warn(s.line, "VAL_: no VAL_TABLE_ %s", v.table)
	}
	sig.Values = labels
}

// valueType makes a signal a float. A type that cannot be read would give wrong values, so it is an error.
func (l *loader) valueType(s statement) {
	id, name, kind, ok := parseValueType(s)
	if !ok {
		l.fail(s.line, "SIG_VALTYPE_: want `SIG_VALTYPE_ id signal : 0, 1 or 2;`")
		return
	}
	sig := l.find(s, id, name)
	if sig == nil || kind == 0 {
		return
	}
	sig.Kind = KindFloat32
	if kind == 2 {
		sig.Kind = KindFloat64
	}
}

// selection replaces what mN said of a signal by the ranges of SG_MUL_VAL_, and names its switch.
func (l *loader) selection(s statement) {
	sel, ok := parseSelection(s)
	if !ok {
		l.fail(s.line, "SG_MUL_VAL_: want `SG_MUL_VAL_ id signal switch low-high, …;`")
		return
	}
	sig, by := l.find(s, sel.id, sel.signal), l.find(s, sel.id, sel.switches)
	if sig != nil && by != nil {
		sig.Selected, sig.Switch = sel.ranges, by
	}
}

func (l *loader) comment(s statement) {
	id, name, comment, ok := parseComment(s)
	if !ok {
		return
	}
	if name == "" {
		if m, found := l.db.Message(id, id&ExtendedFlag != 0 || id > maxStandardID); found {
			m.Comment = comment
		}
		return
	}
	if sig := l.find(s, id, name); sig != nil {
		sig.Comment = comment
	}
}

// finish ties multiplexed signals to their switch and places all signals in the payload.
func (l *loader) finish() {
	l.db.indexPGN()
	for _, m := range l.db.Messages {
		l.multiplex(m)
		for _, s := range m.Signals {
			s.place()
			if why := s.Undecodable(); why != "" {
				l.doubt(m, s, s.Line, "signal %s of message %s never has a value: %s", s.Name, m.Name, why)
			} else if m.Length > 0 && s.last >= m.Length {
				l.doubt(m, s, s.Line, "signal %s of message %s has a value in longer frames only: it ends in byte %d, and the message has %d", s.Name, m.Name, s.last+1, m.Length)
			}
		}
	}
	slices.SortStableFunc(l.db.Warnings, func(a, b Warning) int { return a.Line - b.Line })
}

// multiplex gives mN signals without SG_MUL_VAL_ the one signal of the message that is M alone.
func (l *loader) multiplex(m *Message) {
	var root *Signal
	for _, s := range m.Signals {
		if s.IsSwitch && s.Selected == nil && root == nil {
			root = s
		}
	}
	for _, s := range m.Signals {
		if s.Selected == nil || s.Switch != nil {
			continue
		}
		if root == nil || root == s {
			l.fail(s.Line, "signal %s is multiplexed, but message %s has no switch (M)", s.Name, m.Name)
			continue
		}
		s.Switch = root
	}
	for _, s := range m.Signals {
		if depth(s) > maxSwitches {
			l.fail(s.Line, "signal %s is selected by itself, or through more than %d switches", s.Name, maxSwitches)
			return
		}
	}
}

// depth counts the switches above a signal, up to one more than is allowed: a cycle never ends.
func depth(s *Signal) int {
	n := 0
	for at := s.Switch; at != nil && n <= maxSwitches; at = at.Switch {
		n++
	}
	return n
}
