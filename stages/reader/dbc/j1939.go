package dbc

import (
	"regexp"
	"strconv"
	"strings"
)

// PGN returns the parameter group number of a 29-bit identifier (SAE J1939-21, 5.2): the extended data page, the data page
// and the PDU format, and, from PDU format 240 on (PDU2, broadcast), the group extension; below that the second byte is the
// destination address and no part of it.
func PGN(id uint32) uint32 {
	pgn := id >> 8 & 0x3ffff
	if pgn>>8&0xff < 240 {
		pgn &^= 0xff
	}
	return pgn
}

// nullAddress stands as the source address of messages that anybody may send (SAE J1939-81: 254).
const nullAddress = 0xfe

// Match returns the message that describes a frame: the one of its identifier or, in a J1939 database, the one of its
// parameter group. Of several of one group it is that of the frame's source address, else the one of the null address,
// else the first. Message finds by the identifier alone.
func (d *Database) Match(id uint32, extended bool) (*Message, bool) {
	if m, ok := d.Message(id, extended); ok || !extended || d.byPGN == nil {
		return m, ok
	}
	var best *Message
	for _, m := range d.byPGN[PGN(id)] {
		switch {
		case m.ID&0xff == id&0xff:
			return m, true
		case best == nil, m.ID&0xff == nullAddress && best.ID&0xff != nullAddress:
			best = m
		}
	}
	return best, best != nil
}

// IsJ1939 says whether some messages of the database are identified by their parameter group.
func (d *Database) IsJ1939() bool { return d.byPGN != nil }

// Values of the attribute VFrameFormat, whose order a file may change.
const formatJ1939 = "J1939PG"

// formats is what the attributes VFrameFormat and ProtocolType say of messages.
type formats struct {
	names    []string          // values of VFrameFormat
	standard string            // its default
	of       map[uint32]string // by the id as in the file, ExtendedFlag included
	protocol string
}

var (
	formatDefinition = regexp.MustCompile(`^\s*BA_DEF_\s+BO_\s+"VFrameFormat"\s+ENUM\s+((?s:.*?))\s*;?\s*$`)
	attributeDefault = regexp.MustCompile(`^\s*BA_DEF_DEF_\s+"(VFrameFormat|ProtocolType)"\s+"?([^";]*)"?\s*;?\s*$`)
	attributeValue   = regexp.MustCompile(`^\s*BA_\s+"(VFrameFormat|ProtocolType)"\s+(?:BO_\s+(\d+)\s+)?"?([^";]*)"?\s*;?\s*$`)
	quotedName       = regexp.MustCompile(`"([^"]*)"`)
)

// attribute takes one BA_DEF_, BA_DEF_DEF_ or BA_; those of other attributes are nothing to it.
func (f *formats) attribute(s statement) {
	if d := formatDefinition.FindStringSubmatch(s.text); d != nil {
		for _, n := range quotedName.FindAllStringSubmatch(d[1], -1) {
			f.names = append(f.names, n[1])
		}
		return
	}
	if d := attributeDefault.FindStringSubmatch(s.text); d != nil {
		if d[1] == "VFrameFormat" {
			f.standard = d[2]
		} else if f.protocol == "" {
			f.protocol = d[2]
		}
		return
	}
	v := attributeValue.FindStringSubmatch(s.text)
	switch {
	case v == nil:
	case v[1] == "ProtocolType" && v[2] == "":
		f.protocol = v[3]
	case v[1] == "VFrameFormat" && v[2] != "":
		if id, err := strconv.ParseUint(v[2], 10, 32); err == nil {
			if f.of == nil {
				f.of = map[uint32]string{}
			}
			f.of[uint32(id)] = strings.TrimSpace(v[3])
		}
	}
}

// name turns the number of an enumeration into its name; VFrameFormat may stand as either.
func (f *formats) name(value string) string {
	i, err := strconv.Atoi(value)
	switch {
	case err != nil:
		return value
	case i >= 0 && i < len(f.names):
		return f.names[i]
	case i == 3 && f.names == nil:
		return formatJ1939
	}
	return ""
}

// isJ1939 says whether a message is identified by its parameter group. Without VFrameFormat, the protocol decides.
func (f *formats) isJ1939(m *Message) bool {
	if !m.Extended {
		return false
	}
	value, given := f.of[m.ID|ExtendedFlag]
	if !given && f.standard != "" {
		value, given = f.standard, true
	}
	if given && f.name(value) == formatJ1939 {
		return true
	}
	_, own := f.of[m.ID|ExtendedFlag]
	return !own && strings.EqualFold(f.protocol, "J1939")
}

// indexPGN makes the parameter groups findable, once all is known.
func (d *Database) indexPGN() {
	for _, m := range d.Messages {
		if m.J1939 = d.format.isJ1939(m); !m.J1939 {
			continue
		}
		if d.byPGN == nil {
			d.byPGN = map[uint32][]*Message{}
		}
		d.byPGN[PGN(m.ID)] = append(d.byPGN[PGN(m.ID)], m)
	}
	d.format = formats{}
}
