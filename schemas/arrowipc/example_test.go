package arrowipc_test

import (
	"bytes"
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/schemas/arrowipc"
)

// An event of one table, read with a plain Arrow reader and nothing of ours.
func ExampleEncode() {
	table, err := schemas.NewTable("ego", []int64{0, 1e7, 2e7}, schemas.Column{Name: "v", Unit: "m/s", Float64: []float64{13.8, 13.9, 14}})
	if err != nil {
		fmt.Println(err)
		return
	}
	slice := schemas.Slice{Start: time.Date(2026, 10, 3, 8, 12, 44, 0, time.UTC), To: 30 * time.Millisecond}
	data, contentType, err := arrowipc.Encode(schemas.Signals, []schemas.Table{table}, slice)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(contentType)

	reader, err := ipc.NewReader(bytes.NewReader(data))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reader.Release()
	for reader.Next() {
		fmt.Println(reader.RecordBatch().NumRows(), "rows of", reader.Schema().Field(1).Name, reader.RecordBatch().Column(1))
	}
	start, _ := reader.Schema().Metadata().GetValue("milepost.start")
	fmt.Println("since", start)
	// Output:
	// application/vnd.apache.arrow.stream
	// 3 rows of v [13.8 13.9 14]
	// since 2026-10-03T08:12:44Z
}
