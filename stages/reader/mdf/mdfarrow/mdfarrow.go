// Package mdfarrow gives blocks of an MDF file as Arrow record batches: a column is what the decoder has made, not copied, so a
// recording becomes Parquet, Flight or a data frame without a loop over its values.
//
//	r, err := g.Read(mdf.ReadOptions{ColumnsOnly: true}, g.Channels...)
//	...
//	var c mdfarrow.Converter
//	for {
//		b, err := r.Next(ctx)
//		...
//		batch, err := c.Batch(b) // valid until the next r.Next
//	}
package mdfarrow

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// Keys of the metadata of a field.
const (
	KeyUnit       = "unit"       // of the physical values; none if there is no unit
	KeyOccurrence = "occurrence" // 1 for the second channel of that name in the group, and so on
)

// A Converter makes record batches of the blocks of one reader. The zero value is ready. One goroutine uses it.
type Converter struct {
	schema *arrow.Schema
	group  *mdf.ChannelGroup
	bits   []bitmap // by column
}

type bitmap struct {
	bytes []byte
	nulls int
}

// Batch returns the block as a record batch: the times first, named as the group's master, then a column a channel:
//
//   - numbers, and texts that a conversion turns into numbers, are float64, complex numbers fixed-size lists of float64,
//   - texts, and numbers that a conversion turns into texts, are utf8, all else is binary,
//   - arrays are fixed-size lists of what their elements are, row-major,
//   - where a conversion gives a text for some values and a number for others, a struct of both: the text is empty where there is a
//     number, the number NaN where there is a text.
//
// Invalid samples are null. Batch shares the memory of the block: it is valid until the next call of Next of the reader or of Batch.
// All batches of a reader have the same schema; the error says that the block has other columns than those before.
func (c *Converter) Batch(b *mdf.Block) (arrow.RecordBatch, error) {
	if c.schema == nil {
		c.schema, c.group, c.bits = schemaOf(b), b.Group, make([]bitmap, len(b.Columns))
	}
	first := 0
	if b.Times != nil {
		first = 1
	}
	if b.Group != c.group || c.schema.NumFields() != first+len(b.Columns) {
		return nil, fmt.Errorf("block of group %d has %d columns, the first of the converter was of group %d and has %d",
			b.Group.Index, first+len(b.Columns), c.group.Index, c.schema.NumFields())
	}
	columns := make([]arrow.Array, 0, c.schema.NumFields())
	defer func() {
		for _, a := range columns {
			a.Release()
		}
	}()
	if b.Times != nil {
		columns = append(columns, array.NewFloat64Data(numbers(b.Times, nil, 0)))
	}
	for i := range b.Columns {
		valid, nulls := c.bits[i].set(b.Columns[i].Valid)
		d := columnData(c.schema.Field(first+i).Type, &b.Columns[i], b.N, valid, nulls)
		columns = append(columns, array.MakeFromData(d))
		d.Release()
	}
	return array.NewRecordBatch(c.schema, columns, int64(b.N)), nil
}

func schemaOf(b *mdf.Block) *arrow.Schema {
	var fields []arrow.Field
	if b.Times != nil {
		fields = append(fields, timeField(b.Group))
	}
	for i := range b.Columns {
		col := &b.Columns[i]
		fields = append(fields, arrow.Field{Name: col.Channel.Name, Type: typeOf(col), Nullable: true, Metadata: metadata(col.Channel)})
	}
	return arrow.NewSchema(fields, nil)
}

func timeField(g *mdf.ChannelGroup) arrow.Field {
	m := g.Master
	if m == nil && g.RemoteMaster != nil {
		m = g.RemoteMaster.Master
	}
	if m == nil {
		return arrow.Field{Name: "time", Type: arrow.PrimitiveTypes.Float64}
	}
	return arrow.Field{Name: cmp.Or(m.Name, "time"), Type: arrow.PrimitiveTypes.Float64, Metadata: metadata(m)}
}

func metadata(c *mdf.Channel) arrow.Metadata {
	var keys, values []string
	if c.Unit != "" {
		keys, values = append(keys, KeyUnit), append(values, c.Unit)
	}
	if c.Occurrence > 0 {
		keys, values = append(keys, KeyOccurrence), append(values, strconv.Itoa(c.Occurrence))
	}
	return arrow.NewMetadata(keys, values)
}

func typeOf(col *mdf.Column) arrow.DataType {
	if col.Width > 1 {
		return arrow.FixedSizeListOfNonNullable(int32(col.Width), elementType(col))
	}
	return elementType(col)
}

// elementType is the type of a value, of which an array has several.
func elementType(col *mdf.Column) arrow.DataType {
	switch {
	case col.Values != nil && isText(col): // numbers of texts
		return arrow.PrimitiveTypes.Float64
	case col.Offsets != nil && isMixed(col):
		return arrow.StructOf(arrow.Field{Name: "text", Type: arrow.BinaryTypes.String},
			arrow.Field{Name: "number", Type: arrow.PrimitiveTypes.Float64})
	case col.Offsets != nil && (col.Kind == mdf.Bytes || col.Kind == mdf.ByteStrings || col.Kind == mdf.Struct) && !givesText(col):
		return arrow.BinaryTypes.Binary
	case col.Offsets != nil:
		return arrow.BinaryTypes.String
	}
	return arrow.PrimitiveTypes.Float64
}

// isText says that what is recorded is no number.
func isText(col *mdf.Column) bool {
	return col.Kind != mdf.Number && col.Kind != mdf.Numbers && col.Kind != mdf.Complex
}

func givesText(col *mdf.Column) bool {
	return col.Channel.Conversion != nil && col.Channel.Conversion.GivesText()
}

// isMixed says that the column has texts and numbers side by side.
func isMixed(col *mdf.Column) bool {
	return col.Values != nil && col.Channel.Conversion != nil && col.Channel.Conversion.Mixed()
}

// columnData makes the data of one column of n rows.
func columnData(t arrow.DataType, col *mdf.Column, n int, valid *memory.Buffer, nulls int) arrow.ArrayData {
	switch t := t.(type) {
	case *arrow.StructType:
		text, number := texts(arrow.BinaryTypes.String, col, n, nil, 0), numbers(col.Values, nil, 0)
		defer text.Release()
		defer number.Release()
		return array.NewData(t, n, []*memory.Buffer{valid}, []arrow.ArrayData{text, number}, nulls, 0)
	case *arrow.FixedSizeListType:
		values := columnData(t.Elem(), col, n*col.Width, nil, 0)
		defer values.Release()
		return array.NewData(t, n, []*memory.Buffer{valid}, []arrow.ArrayData{values}, nulls, 0)
	case *arrow.Float64Type:
		return numbers(col.Values, valid, nulls)
	}
	return texts(t, col, n, valid, nulls)
}

func numbers(values []float64, valid *memory.Buffer, nulls int) *array.Data {
	data := memory.NewBufferBytes(arrow.Float64Traits.CastToBytes(values))
	return array.NewData(arrow.PrimitiveTypes.Float64, len(values), []*memory.Buffer{valid, data}, nil, nulls, 0)
}

// texts takes the offsets as Arrow's, which are signed: a block has some MiB of text at most.
func texts(t arrow.DataType, col *mdf.Column, n int, valid *memory.Buffer, nulls int) *array.Data {
	offsets := memory.NewBufferBytes(arrow.Uint32Traits.CastToBytes(col.Offsets[:n+1]))
	return array.NewData(t, n, []*memory.Buffer{valid, offsets, memory.NewBufferBytes(col.Bytes)}, nil, nulls, 0)
}

// set makes Arrow's validity bits of valid; nil for all.
func (m *bitmap) set(valid []bool) (*memory.Buffer, int) {
	if valid == nil {
		return nil, 0
	}
	size := int(bitutil.BytesForBits(int64(len(valid))))
	m.bytes, m.nulls = slices.Grow(m.bytes[:0], size)[:size], 0
	clear(m.bytes)
	for i, ok := range valid {
		if ok {
			bitutil.SetBit(m.bytes, i)
		} else {
			m.nulls++
		}
	}
	return memory.NewBufferBytes(m.bytes), m.nulls
}
