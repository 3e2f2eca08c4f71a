package arrowipc

import (
	"encoding/binary"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/milepost-dev/milepost/schemas"
)

// Slots of tables and values of enumerations in Schema.fbs and Message.fbs.
const (
	schemaEndianness, schemaFields, schemaMetadata                  = 0, 1, 2
	fieldName, fieldNullable, fieldTypeKind, fieldType              = 0, 1, 2, 3
	fieldDictionary, fieldChildren, fieldMetadata                   = 4, 5, 6
	keyValueKey, keyValueValue                                      = 0, 1
	intBitWidth, intSigned, floatPrecision                          = 0, 1, 0
	batchLength, batchNodes, batchBuffers, batchCompression         = 0, 1, 2, 3
	typeInt, typeFloatingPoint, typeUtf8, typeBool, precisionDouble = 2, 3, 5, 6, 2
	offsetBytes, structBytes, minFieldBytes                         = 4, 16, 24
)

func readSchema(m message) (*arrow.Schema, error) {
	f := m.meta
	if at := f.field(m.header, schemaEndianness); at != 0 && f.u16(at) != 0 {
		f.fail(at, "big-endian columns")
	}
	if len(m.body) != 0 {
		f.fail(0, "a schema with a body")
	}
	first, n := f.vector(f.field(m.header, schemaFields), offsetBytes)
	if n > len(f.b)/minFieldBytes { // else many fields could point at one and take more memory than the metadata says
		f.fail(first, "%d columns in %d bytes of metadata", n, len(f.b))
		return nil, f.err
	}
	fields := make([]arrow.Field, 0, n)
	for i := 0; i < n && f.err == nil; i++ {
		fields = append(fields, readField(f, f.follow(first+i*offsetBytes)))
	}
	meta := readMetadata(f, f.field(m.header, schemaMetadata))
	if f.err == nil && (n == 0 || fields[0].Name != schemas.TimeColumn || fields[0].Type.ID() != arrow.INT64) {
		f.fail(m.header, "the first column is not %s, int64", schemas.TimeColumn)
	}
	if f.err != nil {
		return nil, f.err
	}
	return arrow.NewSchema(fields, &meta), nil
}

func readField(f *flatbuffer, at int) arrow.Field {
	field := arrow.Field{Name: f.text(f.field(at, fieldName)), Metadata: readMetadata(f, f.field(at, fieldMetadata))}
	if p := f.field(at, fieldNullable); p != 0 {
		field.Nullable = f.u8(p) != 0
	}
	if f.field(at, fieldDictionary) != 0 {
		f.fail(at, "column %q has a dictionary", field.Name)
	}
	if _, n := f.vector(f.field(at, fieldChildren), offsetBytes); n != 0 {
		f.fail(at, "column %q has columns of its own", field.Name)
	}
	if field.Type = readType(f, at); field.Type == nil {
		f.fail(at, "column %q is of a type that is not int64, float64, bool or utf8", field.Name)
	}
	return field
}

// readType returns nil for a type that is not on the wire.
func readType(f *flatbuffer, field int) arrow.DataType {
	kind, at := f.field(field, fieldTypeKind), f.field(field, fieldType)
	if kind == 0 || at == 0 {
		return nil
	}
	table := f.follow(at)
	switch f.u8(kind) {
	case typeInt:
		width, signed := f.field(table, intBitWidth), f.field(table, intSigned)
		if width != 0 && signed != 0 && f.u32(width) == 64 && f.u8(signed) != 0 {
			return arrow.PrimitiveTypes.Int64
		}
	case typeFloatingPoint:
		if p := f.field(table, floatPrecision); p != 0 && f.u16(p) == precisionDouble {
			return arrow.PrimitiveTypes.Float64
		}
	case typeUtf8:
		return arrow.BinaryTypes.String
	case typeBool:
		return arrow.FixedWidthTypes.Boolean
	}
	return nil
}

func readMetadata(f *flatbuffer, field int) arrow.Metadata {
	first, n := f.vector(field, offsetBytes)
	// An entry costs budget even with empty texts: fields may all point at one long vector.
	if f.budget -= n * offsetBytes; f.budget < 0 {
		f.fail(first, "more metadata than there is room for")
	}
	if n == 0 || f.err != nil {
		return arrow.Metadata{}
	}
	keys, values := make([]string, n), make([]string, n)
	for i := range n {
		entry := f.follow(first + i*offsetBytes)
		keys[i], values[i] = f.text(f.field(entry, keyValueKey)), f.text(f.field(entry, keyValueValue))
	}
	return arrow.NewMetadata(keys, values)
}

// A batchReader hands out the field nodes and buffers of a record batch in order.
type batchReader struct {
	message
	rows        int
	node, nodes int // next, how many are left
	buffer      int
}

func readRecordBatch(m message, schema *arrow.Schema) (arrow.RecordBatch, error) {
	r, err := newBatchReader(m, schema)
	if err != nil {
		return nil, err
	}
	columns := make([]arrow.Array, 0, schema.NumFields())
	for i := range schema.NumFields() {
		c, err := r.column(schema.Field(i).Type)
		if err != nil {
			return nil, err
		}
		columns = append(columns, c)
	}
	if columns[0].NullN() != 0 {
		return nil, corrupt(m.bodyAt, "column %s has nulls", schemas.TimeColumn)
	}
	return array.NewRecordBatch(schema, columns, int64(r.rows)), nil
}

func newBatchReader(m message, schema *arrow.Schema) (*batchReader, error) {
	f := m.meta
	r := &batchReader{message: m}
	if f.field(m.header, batchCompression) != 0 {
		f.fail(m.header, "compressed columns")
	}
	rows := int64(0)
	if at := f.field(m.header, batchLength); at != 0 {
		rows = f.i64(at)
	}
	var buffers int
	r.node, r.nodes = f.vector(f.field(m.header, batchNodes), structBytes)
	r.buffer, buffers = f.vector(f.field(m.header, batchBuffers), structBytes)
	want := 0
	for _, field := range schema.Fields() {
		want += buffersOf(field.Type.ID())
	}
	if f.err == nil && (r.nodes != schema.NumFields() || buffers != want) {
		f.fail(m.header, "%d columns in %d buffers, the schema has %d in %d", r.nodes, buffers, schema.NumFields(), want)
	}
	if f.err == nil && (rows < 0 || rows > int64(len(m.body))/8) { // the time column alone takes 8 bytes a row
		f.fail(m.header, "%d rows in a body of %d bytes", rows, len(m.body))
	}
	r.rows = int(rows)
	return r, f.err
}

func (r *batchReader) column(t arrow.DataType) (arrow.Array, error) {
	length, nulls := r.meta.i64(r.node), r.meta.i64(r.node+8)
	if length != int64(r.rows) || nulls < 0 || nulls > length {
		r.meta.fail(r.node, "a column of %d rows, %d of them null, in a table of %d", length, nulls, r.rows)
	}
	r.node += structBytes
	validity := r.next(bitmapBytes(r.rows), nulls > 0)
	if nulls == 0 {
		validity = nil
	}
	buffers := []*memory.Buffer{validity}
	switch t.ID() {
	case arrow.BOOL:
		buffers = append(buffers, r.next(bitmapBytes(r.rows), true))
	case arrow.STRING:
		buffers = append(buffers, r.text()...)
	default:
		buffers = append(buffers, r.next(8*r.rows, true))
	}
	if r.meta.err != nil {
		return nil, r.meta.err
	}
	data := array.NewData(t, r.rows, buffers, nil, int(nulls), 0)
	defer data.Release()
	return array.MakeFromData(data), nil
}

// next takes the next buffer, which has at least that many bytes if it is needed.
func (r *batchReader) next(atLeast int, needed bool) *memory.Buffer {
	offset, length := r.meta.i64(r.buffer), r.meta.i64(r.buffer+8)
	size := int64(len(r.body))
	if r.meta.err == nil && (offset < 0 || length < 0 || offset > size || length > size-offset) {
		r.meta.fail(r.buffer, "a buffer of %d bytes at %d of a body of %d", length, offset, size)
	}
	if r.meta.err == nil && needed && length < int64(atLeast) {
		r.meta.fail(r.buffer, "a buffer of %d bytes, %d rows need %d", length, r.rows, atLeast)
	}
	if r.meta.err != nil {
		return nil
	}
	r.buffer += structBytes
	return memory.NewBufferBytes(r.body[offset : offset+length : offset+length])
}

// text takes the offsets and the bytes of a utf8 column and checks that every value lies inside the bytes.
func (r *batchReader) text() []*memory.Buffer {
	if r.rows == 0 { // writers leave the offsets of an empty array out
		return []*memory.Buffer{r.next(0, false), r.next(0, false)}
	}
	offsets, values := r.next(4*(r.rows+1), true), r.next(0, false)
	if r.meta.err != nil {
		return nil
	}
	last := uint32(0)
	for i := range r.rows + 1 {
		o := binary.LittleEndian.Uint32(offsets.Bytes()[4*i:])
		if o < last || int64(o) > int64(values.Len()) || o > 1<<31-1 {
			r.meta.fail(r.buffer-structBytes, "text of row %d ends at %d of %d bytes", i, o, values.Len())
			return nil
		}
		last = o
	}
	return slices.Clip([]*memory.Buffer{offsets, values})
}

func bitmapBytes(rows int) int { return (rows + 7) / 8 }
