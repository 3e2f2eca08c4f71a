package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
)

// rowsType is a stage that hands each row to a function.
func rowsType[Row any](each func(context.Context, Row, pipeline.Emitter) error) pipeline.ProcessorType[struct{}] {
	return pipeline.ProcessorType[struct{}]{
		Name: "process/rows", Summary: "rows", Accepts: []string{schemas.Signals}, Emits: []string{"row.v1"},
		Build: func(context.Context, struct{}) (pipeline.Open[pipeline.Processor], error) {
			return pipeline.EachRow(each), nil
		},
	}
}

func emitRow[Row any](ctx context.Context, row Row, out pipeline.Emitter) error {
	return pipeline.EmitDoc(ctx, out, "row.v1", fmt.Sprintf("%+v", row))
}

type sample struct{ T, Accel float64 } // as in the example of a stage in Go

func TestEachRow(t *testing.T) {
	got := pipelinetest.Run(t, rowsType(emitRow[sample]), struct{}{}, "t  accel other\n 0.3  -2 1\n 2  - 1")
	if want := `[row.v1 "{T:0.3 Accel:-2}" row.v1 "{T:2 Accel:NaN}"]`; fmt.Sprint(got.Docs) != want {
		t.Fatalf("docs = %v", got.Docs)
	}
	if at := got.Batches[1].Time(); !at.Equal(pipelinetest.Start.Add(2 * time.Second)) {
		t.Errorf("the second event is at %v", at)
	}
}

func TestEachRowColumns(t *testing.T) {
	type row struct {
		T        time.Duration
		EgoSpeed float64
		On       bool
		V        float64 `col:"VehSpd"`
		Count    int64
	}
	got := pipelinetest.Run(t, rowsType(emitRow[row]), struct{}{}, "t count ego_speed ON VehSpd vehspd\n 0.000000001 7 1.5 1 3 4")
	if want := `[row.v1 "{T:1ns EgoSpeed:1.5 On:true V:3 Count:7}"]`; fmt.Sprint(got.Docs) != want {
		t.Fatalf("docs = %v", got.Docs)
	}
}

func TestEachRowMergesTablesByTime(t *testing.T) {
	text := []string{"[a]\nt accel\n1 10\n3 30\n[b]\nt speed\n0 1\n[c]\nt accel\n1 11\n2 20", "[c]\nt accel\n3 31"}
	typ := rowsType(emitRow[sample])
	got := pipelinetest.Run(t, typ, struct{}{}, text...)
	want := `[row.v1 "{T:1 Accel:10}" row.v1 "{T:1 Accel:11}" row.v1 "{T:2 Accel:20}" row.v1 "{T:3 Accel:30}" row.v1 "{T:3 Accel:31}"]`
	if fmt.Sprint(got.Docs) != want {
		t.Fatalf("docs = %v", got.Docs)
	}
	pipelinetest.TestProcessor(t, typ, struct{}{}, pipelinetest.Batches(t, schemas.Signals, text...), pipelinetest.SliceIndependent)
}

func TestEachRowPassesOver(t *testing.T) {
	got := pipelinetest.Run(t, rowsType(emitRow[sample]), struct{}{}, "t speed\n0 1", `{"t":1,"accel":2}`)
	if len(got.Docs) != 0 {
		t.Fatalf("docs = %v", got.Docs)
	}
}

func TestEachRowHandsOnErrors(t *testing.T) {
	refused := errors.New("refused")
	open := pipeline.EachRow(func(context.Context, sample, pipeline.Emitter) error { return refused })
	p, err := open(t.Context(), pipeline.Item{})
	if err != nil {
		t.Fatal(err)
	}
	b := pipelinetest.Batches(t, schemas.Signals, "t accel\n0 1")[0]
	if err := p.Process(t.Context(), b, &pipelinetest.Recorder{}); !errors.Is(err, refused) {
		t.Fatal(err)
	}
}

func TestEachRowPanics(t *testing.T) {
	type hidden struct{ t float64 }
	type text struct{ Name string }
	for name, make := range map[string]func(){
		"no struct":  func() { pipeline.EachRow(emitRow[float64]) },
		"unexported": func() { pipeline.EachRow(emitRow[hidden]) },
		"text":       func() { pipeline.EachRow(emitRow[text]) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			make()
		}()
	}
	_ = hidden{t: math.Pi}
}
