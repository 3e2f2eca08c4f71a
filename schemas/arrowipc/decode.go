package arrowipc

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/milepost-dev/milepost/schemas"
)

// Decode reads what Encode wrote: exactly that many tables, and nothing behind them. The tables point into data, which must
// not change as long as they are used. Whatever else stands in data ends in an error that wraps ErrCorrupt and names the
// byte, never in a panic; memory taken is a small multiple of the metadata. Safe for concurrent use.
func Decode(data []byte, contentType string, tables int) ([]schemas.Table, schemas.Slice, error) {
	if err := checkCount(contentType, tables); err != nil {
		return nil, schemas.Slice{}, err
	}
	if len(data)/minStreamBytes < tables {
		return nil, schemas.Slice{}, corrupt(len(data), "%d bytes do not hold %d tables", len(data), tables)
	}
	d := decoder{data: data}
	decoded := make([]schemas.Table, 0, tables)
	var first label
	for i := range tables {
		t, l, err := d.table()
		if err == nil {
			err = l.check(d.streamStart, i, first)
		}
		if err != nil {
			return nil, schemas.Slice{}, fmt.Errorf("decode table %d of %d: %w", i+1, tables, err)
		}
		if i == 0 {
			first = l
		}
		decoded = append(decoded, t)
	}
	if d.at != len(data) {
		return nil, schemas.Slice{}, corrupt(d.at, "%d bytes behind the last table", len(data)-d.at)
	}
	return decoded, first.slice, nil
}

func checkCount(contentType string, tables int) error {
	switch {
	case contentType == schemas.ContentArrow && tables == 1, contentType == schemas.ContentTables && tables > 1:
		return nil
	case contentType == schemas.ContentArrow, contentType == schemas.ContentTables:
		return corrupt(0, "content type %s with %d tables", contentType, tables)
	}
	return corrupt(0, "content type %q is not that of tables", contentType)
}

// Framing of the streaming format: a continuation marker, the length of the metadata, the metadata, the body; a length of
// zero ends the stream (Arrow Columnar Format, "Encapsulated message format").
const (
	continuation     = 0xffffffff
	prefixBytes      = 8
	minStreamBytes   = 3 * prefixBytes
	maxMetadataBytes = 1 << 20 // 4000 columns with units
	sharing          = 8       // texts and entries may be shared by fields, so often on average
)

// Values of enumerations and slots of tables in Message.fbs.
const (
	versionV4, versionV5                                        = 3, 4
	headerSchema, headerRecordBatch                             = 1, 3
	messageVersion, messageType, messageHeader, messageBodySize = 0, 1, 2, 3
)

type decoder struct {
	data        []byte
	at          int // next byte
	streamStart int // of the table in hand
}

// A message is one encapsulated message: its metadata, the header table in it, and its body.
type message struct {
	meta   *flatbuffer
	header int
	body   []byte
	bodyAt int // offset of body in the data
}

// table reads one whole stream.
func (d *decoder) table() (schemas.Table, label, error) {
	d.streamStart = d.at
	m, err := d.message(headerSchema)
	if err != nil {
		return schemas.Table{}, label{}, fmt.Errorf("schema: %w", err)
	}
	schema, err := readSchema(m)
	if err != nil {
		return schemas.Table{}, label{}, fmt.Errorf("schema: %w", err)
	}
	l, err := readLabel(d.streamStart, schema.Metadata())
	if err != nil {
		return schemas.Table{}, label{}, err
	}
	if m, err = d.message(headerRecordBatch); err != nil {
		return schemas.Table{}, label{}, fmt.Errorf("record batch: %w", err)
	}
	record, err := readRecordBatch(m, schema)
	if err != nil {
		return schemas.Table{}, label{}, fmt.Errorf("record batch: %w", err)
	}
	return schemas.Table{Name: l.table, Record: record}, l, d.end()
}

// message takes the next encapsulated message, which must be of that kind.
func (d *decoder) message(kind byte) (message, error) {
	size, err := d.prefix()
	if err != nil {
		return message{}, err
	}
	if size == 0 || size > maxMetadataBytes || size > len(d.data)-d.at {
		return message{}, corrupt(d.at-4, "metadata of %d bytes, %d are left", size, len(d.data)-d.at)
	}
	f := &flatbuffer{b: d.data[d.at : d.at+size], base: d.at, budget: sharing * size}
	d.at += size
	m := message{meta: f, bodyAt: d.at}
	bodySize, err := m.open(kind)
	if err != nil {
		return message{}, err
	}
	if bodySize < 0 || bodySize > int64(len(d.data)-d.at) {
		return message{}, corrupt(d.at, "a body of %d bytes, %d are left", bodySize, len(d.data)-d.at)
	}
	m.body = d.data[d.at : d.at+int(bodySize)]
	d.at += int(bodySize)
	return m, nil
}

// open finds the header in the metadata and returns the size of the body.
func (m *message) open(kind byte) (bodySize int64, err error) {
	f := m.meta
	root := f.follow(0)
	version, header, length := 0, byte(0), f.field(root, messageBodySize)
	if at := f.field(root, messageVersion); at != 0 {
		version = f.u16(at)
	}
	if at := f.field(root, messageType); at != 0 {
		header = f.u8(at)
	}
	if length != 0 {
		bodySize = f.i64(length)
	}
	if f.err == nil && version != versionV4 && version != versionV5 {
		f.fail(root, "metadata version %d", version+1)
	}
	if f.err == nil && header != kind {
		f.fail(root, "a message of kind %d, not %d", header, kind)
	}
	at := f.field(root, messageHeader)
	if f.err == nil && at == 0 {
		f.fail(root, "a message without a header")
	}
	m.header = f.follow(at)
	return bodySize, f.err
}

// prefix takes the marker and the length of a message's metadata.
func (d *decoder) prefix() (int, error) {
	if len(d.data)-d.at < prefixBytes {
		return 0, corrupt(d.at, "the stream ends inside a table")
	}
	if m := binary.LittleEndian.Uint32(d.data[d.at:]); m != continuation {
		return 0, corrupt(d.at, "no message starts here")
	}
	size := binary.LittleEndian.Uint32(d.data[d.at+4:])
	d.at += prefixBytes
	return int(size), nil
}

func (d *decoder) end() error {
	size, err := d.prefix()
	if err == nil && size != 0 {
		err = corrupt(d.at-4, "a message where the table's end of stream belongs")
	}
	return err
}

// A label is what our metadata says of a table.
type label struct {
	table, eventType string
	index            int
	slice            schemas.Slice
}

func readLabel(at int, meta arrow.Metadata) (label, error) {
	var l label
	var err error
	get := func(key string) string {
		v, ok := meta.GetValue(key)
		if !ok && err == nil {
			err = corrupt(at, "the schema has no %s", key)
		}
		return v
	}
	l.table, l.eventType = get(keyTable), get(keyType)
	index, start, from, to := get(keyIndex), get(keyStart), get(keyFrom), get(keyTo)
	if err != nil {
		return l, err
	}
	if l.index, err = strconv.Atoi(index); err != nil {
		return l, corrupt(at, "%s is %q", keyIndex, index)
	}
	if l.slice, err = readSlice(start, from, to); err != nil {
		return l, corrupt(at, "slice %q, %q to %q", start, from, to)
	}
	return l, nil
}

func readSlice(start, from, to string) (s schemas.Slice, err error) {
	if start != "" {
		if s.Start, err = time.Parse(time.RFC3339Nano, start); err != nil {
			return s, err
		}
	}
	first, err := strconv.ParseInt(from, 10, 64)
	if err != nil {
		return s, err
	}
	last, err := strconv.ParseInt(to, 10, 64)
	s.From, s.To = time.Duration(first), time.Duration(last)
	return s, err
}

// check finds a table that is missing, doubled, or of another event.
func (l label) check(at, index int, first label) error {
	if l.index != index {
		return corrupt(at, "table %s says it is number %d", l.table, l.index)
	}
	same := l.eventType == first.eventType && l.slice.From == first.slice.From && l.slice.To == first.slice.To && l.slice.Start.Equal(first.slice.Start)
	if index > 0 && !same {
		return corrupt(at, "table %s is of another batch", l.table)
	}
	return nil
}
