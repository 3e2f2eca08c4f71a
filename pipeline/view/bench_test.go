package view

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
)

const (
	benchSignals = 20
	benchRows    = 1600 // 256 KiB of 20 signals at 100 Hz: 16 s
)

// drive makes the nth batch of a drive of noisy signals, which compress worse than real ones.
func drive(b testing.TB, n int, random *rand.Rand) pipeline.Batch {
	b.Helper()
	times := make([]int64, benchRows)
	for i := range times {
		times[i] = int64(n*benchRows+i) * int64(10*time.Millisecond)
	}
	var columns []schemas.Column
	for s := range benchSignals {
		values := make([]float64, benchRows)
		v := 50.0
		for i := range values {
			v += random.NormFloat64() / 10
			values[i] = v
		}
		columns = append(columns, schemas.Column{Name: fmt.Sprintf("signal_%02d", s), Float64: values})
	}
	t, err := schemas.NewTable("ego", times, columns...)
	must(b, err)
	return pipeline.Batch{Type: schemas.Signals, Slice: schemas.Slice{Start: pipelinetest.Start}, Tables: []pipeline.Table{t},
		Job: readChain.Job, Stage: readChain.Stage, Item: "drive.mf4", Pipeline: "p", Sequence: uint64(n + 1)}
}

// What ten hours of a drive take on the disk, scaled from one hour; ReportMetric prints it.
func BenchmarkWrite(b *testing.B) {
	file := filepath.Join(b.TempDir(), FileName)
	s, err := Open(b.Context(), file)
	must(b, err)
	defer s.Close()
	random := rand.New(rand.NewPCG(1, 2))
	b.SetBytes(benchRows * (benchSignals + 1) * 8)
	b.ReportAllocs()
	n, from := 0, schemas.Cursor{}
	for b.Loop() {
		b.StopTimer()
		batch := drive(b, n, random)
		b.StartTimer()
		must(b, s.Write(b.Context(), batch))
		if n++; n%32 == 0 { // 8 MiB
			must(b, s.Commit(b.Context(), pipeline.Origin{ChainID: readChain}, from, cursor(uint64(n))))
			from = cursor(uint64(n))
		}
	}
	b.StopTimer()
	must(b, s.Commit(b.Context(), pipeline.Origin{ChainID: readChain}, from, cursor(uint64(n+1))))
	_, err = s.write.db.ExecContext(b.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")
	must(b, err)
	info, err := os.Stat(file)
	must(b, err)
	hours := float64(n*benchRows) / 100 / 3600
	b.ReportMetric(float64(info.Size())/hours*10/1e6, "MB/10h")
}

func BenchmarkTimeline(b *testing.B) {
	s := openStore(b)
	random := rand.New(rand.NewPCG(1, 2))
	const batches = 225 // an hour
	for n := range batches {
		must(b, s.Write(b.Context(), drive(b, n, random)))
	}
	must(b, s.Commit(b.Context(), pipeline.Origin{ChainID: readChain}, cursor(0), cursor(batches)))
	for _, window := range []time.Duration{time.Hour, 5 * time.Minute} {
		b.Run(window.String(), func(b *testing.B) {
			for b.Loop() {
				line, err := s.Timeline(b.Context(), readChain.Job, []string{"signal_00", "signal_01", "signal_02"}, 0, window, 1000)
				if err != nil || len(line.Series) != 3 {
					b.Fatal(err)
				}
			}
		})
	}
}
