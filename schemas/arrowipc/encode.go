package arrowipc

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/milepost-dev/milepost/schemas"
)

// Keys of the schema metadata; see the package comment.
const (
	keyPrefix = "milepost."
	keyTable  = keyPrefix + "table"
	keyIndex  = keyPrefix + "index"
	keyType   = keyPrefix + "type"
	keyStart  = keyPrefix + "start"
	keyFrom   = keyPrefix + "from_ns"
	keyTo     = keyPrefix + "to_ns"
)

// Encode writes the tables of one batch into one byte slice, which the caller owns, and says its content type:
// schemas.ContentArrow for one table, schemas.ContentTables for several. The caller leaves out tables without rows; no
// table at all is ErrNoTables. A column that is not int64, float64, bool or utf8, or a first column that is not
// schemas.TimeColumn, is ErrUnsupported. Safe for concurrent use.
func Encode(eventType string, tables []schemas.Table, s schemas.Slice) (data []byte, contentType string, err error) {
	if len(tables) == 0 {
		return nil, "", fmt.Errorf("encode %s: %w", eventType, ErrNoTables)
	}
	out := bytes.NewBuffer(make([]byte, 0, sizeHint(tables)))
	for i, t := range tables {
		if err := encodeTable(out, t, metadata(eventType, t, i, s)); err != nil {
			return nil, "", fmt.Errorf("encode %s, table %s: %w", eventType, t.Name, err)
		}
	}
	contentType = schemas.ContentTables
	if len(tables) == 1 {
		contentType = schemas.ContentArrow
	}
	return out.Bytes(), contentType, nil
}

func encodeTable(out *bytes.Buffer, t schemas.Table, meta arrow.Metadata) error {
	fields := t.Record.Schema().Fields()
	if err := checkFields(fields); err != nil {
		return err
	}
	schema := arrow.NewSchema(fields, &meta)
	record := array.NewRecordBatch(schema, t.Record.Columns(), t.Record.NumRows())
	defer record.Release()
	w := ipc.NewWriter(out, ipc.WithSchema(schema))
	if err := w.Write(record); err != nil {
		return err
	}
	return w.Close()
}

// metadata keeps what a stage wrote into the schema, but for our keys, so that a decoded table encodes to the same bytes.
func metadata(eventType string, t schemas.Table, index int, s schemas.Slice) arrow.Metadata {
	keys, values := make([]string, 0, 6), make([]string, 0, 6)
	old := t.Record.Schema().Metadata()
	for i, k := range old.Keys() {
		if !strings.HasPrefix(k, keyPrefix) {
			keys, values = append(keys, k), append(values, old.Values()[i])
		}
	}
	keys = append(keys, keyTable, keyIndex, keyType, keyStart, keyFrom, keyTo)
	values = append(values, t.Name, strconv.Itoa(index), eventType, schemas.FormatTime(s.Start),
		strconv.FormatInt(int64(s.From), 10), strconv.FormatInt(int64(s.To), 10))
	return arrow.NewMetadata(keys, values)
}

func checkFields(fields []arrow.Field) error {
	if len(fields) == 0 || fields[0].Name != schemas.TimeColumn || fields[0].Type.ID() != arrow.INT64 {
		return fmt.Errorf("%w: the first column is not %s, int64", ErrUnsupported, schemas.TimeColumn)
	}
	for _, f := range fields {
		if buffersOf(f.Type.ID()) == 0 {
			return fmt.Errorf("%w: column %s is %s", ErrUnsupported, f.Name, f.Type)
		}
	}
	return nil
}

// buffersOf is how many buffers an array of a type has in a record batch; 0 for a type that is not on the wire.
func buffersOf(id arrow.Type) int {
	switch id {
	case arrow.INT64, arrow.FLOAT64, arrow.BOOL:
		return 2 // validity, values
	case arrow.STRING:
		return 3 // validity, offsets, bytes
	}
	return 0
}

// sizeHint is a little more than the data will take, so that it is written into one allocation.
func sizeHint(tables []schemas.Table) int {
	const perStream, perColumn, perBuffer = 1024, 256, 64
	n := 0
	for _, t := range tables {
		n += perStream
		for _, c := range t.Record.Columns() {
			n += perColumn
			for _, b := range c.Data().Buffers() {
				if b != nil {
					n += b.Len() + perBuffer
				}
			}
		}
	}
	return n
}
