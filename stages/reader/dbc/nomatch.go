package dbc

import (
	"cmp"
	"fmt"
	"slices"
)

// String is the identifier as users write it, with its bus.
func (k FrameID) String() string {
	s := fmt.Sprintf("%#x", k.ID)
	if k.Extended {
		s += " (extended)"
	}
	if k.BusKnown {
		s += fmt.Sprintf(" on bus %d", k.Bus)
	}
	return s
}

// A NoMatch says that a database describes none of the frames of a recording: usually it is that of another bus or car.
type NoMatch struct {
	Database string
	Messages int
	Seen     int // identifiers in the recording
	Close    []CloseID
}

// A CloseID is a frame's identifier and the message that comes closest to it.
type CloseID struct {
	Frame   FrameID
	Message *Message
	Why     string // what differs
}

func (e *NoMatch) Error() string {
	if e.Seen == 0 {
		return fmt.Sprintf("no frame matches %s: there are no CAN frames", e.Database)
	}
	s := fmt.Sprintf("no frame matches %s: none of its %d messages has one of the %d ids seen", e.Database, e.Messages, e.Seen)
	for i, c := range e.Close {
		if i == 0 {
			s += "; closest: "
		} else {
			s += ", "
		}
		s += fmt.Sprintf("%v to %s of %s (%s)", c.Frame, FrameID{ID: c.Message.ID, Extended: c.Message.Extended}, c.Message.Name, c.Why)
	}
	return s
}

// Unmatched returns a *NoMatch for each database none of whose messages a frame had, in the order given to NewDecoder.
func (d *Decoder) Unmatched() []*NoMatch {
	var all []*NoMatch
	for _, b := range d.databases {
		matched := slices.ContainsFunc(d.groups, func(g *Group) bool {
			return g.Message != nil && slices.Contains(b.Database.Messages, g.Message)
		})
		if matched {
			continue
		}
		seen := make([]FrameID, len(d.groups))
		for i, g := range d.groups {
			seen[i] = g.FrameID
		}
		all = append(all, &NoMatch{Database: b.Database.Name, Messages: len(b.Database.Messages), Seen: len(seen),
			Close: b.Database.Closest(b.Bus, seen)})
	}
	return all
}

// Doubts are the warnings of databases about messages that frames had: what is missing or questionable in what these decoders of
// one recording have given. The decoders must be of the same databases.
func Doubts(decoders ...*Decoder) (all []error) {
	seen := map[*Message]bool{}
	for _, d := range decoders {
		for _, g := range d.groups {
			seen[g.Message] = true
		}
	}
	for _, b := range decoders[0].databases {
		for _, m := range b.Database.Messages {
			if !seen[m] {
				continue
			}
			for _, doubt := range b.Database.Doubts(m) {
				all = append(all, doubt)
			}
		}
	}
	return all
}

// Closest lists which identifiers come closest to those of messages, at most three, the nearest first: the same id on another
// bus or of the other length, one of the same J1939 parameter group, then by numerical distance. bus is the bus that the
// database is for, nil for any.
func (d *Database) Closest(bus *uint8, seen []FrameID) []CloseID {
	return nearest(d.Messages, bus, seen)
}

// Closest is Database.Closest for one message.
func (m *Message) Closest(bus *uint8, seen []FrameID) []CloseID {
	return nearest([]*Message{m}, bus, seen)
}

func nearest(messages []*Message, bus *uint8, seen []FrameID) []CloseID {
	type candidate struct {
		CloseID
		rank uint64
	}
	var all []candidate
	for _, k := range seen[:min(len(seen), maxCompared)] {
		var best candidate
		for _, m := range messages[:min(len(messages), maxCompared)] {
			if why, rank := m.near(bus, k); best.Message == nil || rank < best.rank {
				best = candidate{CloseID{k, m, why}, rank}
			}
		}
		if best.Message != nil {
			all = append(all, best)
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(a.rank, b.rank) })
	out := make([]CloseID, 0, maxClose)
	for _, c := range all[:min(len(all), maxClose)] {
		out = append(out, c.CloseID)
	}
	return out
}

// maxCompared bounds a comparison of all identifiers with all messages.
const maxCompared = 4096

// near says how an identifier differs from that of a message; a smaller rank is nearer.
func (m *Message) near(bus *uint8, k FrameID) (why string, rank uint64) {
	distance := uint64(max(m.ID, k.ID) - min(m.ID, k.ID))
	switch {
	case m.ID == k.ID && m.Extended == k.Extended && bus == nil:
		return "as in the database", 0
	case m.ID == k.ID && m.Extended == k.Extended:
		return fmt.Sprintf("the database is for bus %d", *bus), 0
	case m.ID == k.ID && k.Extended:
		return "extended, not of 11 bits", 1
	case m.ID == k.ID:
		return "of 11 bits, not extended", 1
	case m.Extended && k.Extended && PGN(m.ID) == PGN(k.ID):
		return fmt.Sprintf("the same J1939 group %d, but VFrameFormat does not say J1939PG", PGN(k.ID)), 2
	case m.Extended != k.Extended:
		return fmt.Sprintf("%d away, of another length", distance), 3 + distance + 1<<30
	}
	return fmt.Sprintf("%d away", distance), 3 + distance
}
