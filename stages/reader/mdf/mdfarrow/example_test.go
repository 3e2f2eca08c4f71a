package mdfarrow_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
	"github.com/milepost-dev/milepost/stages/reader/mdf/mdfarrow"
)

func ExampleConverter_Batch() {
	dir, err := os.MkdirTemp("", "mdfarrow")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "a.mf4")
	w, err := mdf.Create(path, mdf.WriterOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Abort()
	ego, err := w.AddGroup(mdf.GroupSpec{AcqName: "ego", Channels: []mdf.ChannelSpec{
		{Name: "speed", Unit: "km/h", DataType: mdf.UintLE, Bits: 16, Conversion: mdf.LinearConversion(0, 0.01)}}})
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(ego.Append([]float64{0, 0.1}, mdf.Samples{Int: []int64{5000, 5050}}), w.Close()); err != nil {
		log.Fatal(err)
	}

	f, err := mdf.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	g := f.Group("ego")
	r, err := g.Read(mdf.ReadOptions{ColumnsOnly: true}, g.Channel("speed", 0))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	var c mdfarrow.Converter
	for {
		b, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		batch, err := c.Batch(b)
		if err != nil {
			log.Fatal(err)
		}
		for i, col := range batch.Columns() {
			fmt.Println(batch.ColumnName(i), col)
		}
		batch.Release()
	}
	// Output:
	// time [0 0.1]
	// speed [50 50.5]
}
