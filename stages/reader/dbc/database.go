// Package dbc decodes the payloads of CAN frames into physical values by a DBC database.
//
// A Decoder turns the frames of a bus into signals, many at a time. Message, Match and Signal.Decode are for single frames.
//
// A database is loaded once, is immutable afterwards and may be used by many goroutines. Statements are parsed by
// go.einride.tech/can/pkg/dbc; that parser stops a file at the first thing it does not know, so this package hands it one
// statement at a time and reads in its own layer what it refuses and what files in the wild contain (see parse.go). What
// was tolerated stands in Database.Warnings. Its descriptors are not used: they hold 8 bytes a frame (no CAN FD), clamp
// values to the declared range, and know no 64-bit floats.
package dbc

import (
	"fmt"
	"slices"
)

// ExtendedFlag is set in the ids of a DBC file for frames with 29-bit identifiers.
const ExtendedFlag uint32 = 0x80000000

// maxStandardID is the largest 11-bit identifier.
const maxStandardID = 0x7ff

// A Database is the contents of one DBC file. A DBC file describes one bus: the same id means another message on another bus.
type Database struct {
	Name     string     // as given to Load
	Messages []*Message // in the order of the file
	Warnings []Warning  // what was tolerated, in the order of the file

	byKey  map[key]*Message
	byPGN  map[uint32][]*Message // J1939 messages, in the order of the file
	format formats               // what attributes say of frame formats; while loading
}

// A Warning is something in a file that is against the format and was read, or left out, all the same.
type Warning struct {
	Line    int // from 1
	Reason  string
	Message *Message // some of whose values are not what the file may mean, or are not there; nil: no value depends on it
	Signal  *Signal  // the one of the message; nil: several
}

// A Doubt is a warning about a message that matters to who asked.
type Doubt struct {
	Database string
	Warning
}

func (d *Doubt) Error() string { return fmt.Sprintf("%s:%d: %s", d.Database, d.Line, d.Reason) }

// Doubts are the warnings that concern values of a message.
func (d *Database) Doubts(m *Message) (all []*Doubt) {
	for _, w := range d.Warnings {
		if w.Message == m && m != nil {
			all = append(all, &Doubt{d.Name, w})
		}
	}
	return all
}

type key struct {
	id       uint32
	extended bool
}

// A Message describes the frames of one identifier.
type Message struct {
	ID       uint32 // without ExtendedFlag
	Extended bool   // 29-bit identifier
	Name     string
	Length   int // declared bytes, 0 to 64; frames may be shorter
	Sender   string
	Comment  string
	J1939    bool      // identified by its parameter group number: Match ignores priority and source address
	Signals  []*Signal // in the order of the file
	Line     int       // in the file, from 1

	byName map[string]*Signal
}

// Message returns the message of a frame. id is compared without ExtendedFlag.
func (d *Database) Message(id uint32, extended bool) (*Message, bool) {
	m, ok := d.byKey[key{id &^ ExtendedFlag, extended}]
	return m, ok
}

// MessageByID returns the message of an id whose kind is not known, the 11-bit one first. The error is an *UnknownError.
func (d *Database) MessageByID(id uint32) (*Message, error) {
	for _, extended := range []bool{false, true} {
		if m, ok := d.Message(id, extended); ok {
			return m, nil
		}
	}
	return nil, &UnknownError{Kind: "message", Name: fmt.Sprintf("%d (%#x)", id, id), In: d.Name}
}

// MessageByName returns the message of that name, the first where a file has two. The error is an *UnknownError.
func (d *Database) MessageByName(name string) (*Message, error) {
	i := slices.IndexFunc(d.Messages, func(m *Message) bool { return m.Name == name })
	if i >= 0 {
		return d.Messages[i], nil
	}
	names := make([]string, len(d.Messages))
	for i, m := range d.Messages {
		names[i] = m.Name
	}
	return nil, &UnknownError{Kind: "message", Name: name, In: d.Name, Close: closest(name, names)}
}

// Signal returns the signal of that name. The error is an *UnknownError.
func (m *Message) Signal(name string) (*Signal, error) {
	if s, ok := m.byName[name]; ok {
		return s, nil
	}
	names := make([]string, len(m.Signals))
	for i, s := range m.Signals {
		names[i] = s.Name
	}
	return nil, &UnknownError{Kind: "signal", Name: name, In: m.Name, Close: closest(name, names)}
}
