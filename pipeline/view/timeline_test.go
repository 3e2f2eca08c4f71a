package view

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
)

var readChain = schemas.ChainID{Job: "j-1", Stage: "read"}

// signals makes one batch of a table of samples.
func signals(t testing.TB, name string, times []int64, values []float64) pipeline.Batch {
	t.Helper()
	table, err := schemas.NewTable(name, times, schemas.Column{Name: "v", Unit: "m/s", Float64: values})
	must(t, err)
	return pipeline.Batch{Type: schemas.Signals, Slice: schemas.Slice{Start: pipelinetest.Start}, Tables: []pipeline.Table{table}}
}

// wave is a signal of that rate with a gap.
func wave(t testing.TB, rate time.Duration, length, gapFrom, gapTo time.Duration) (times []int64, values []float64) {
	t.Helper()
	for at := time.Duration(0); at < length; at += rate {
		if at >= gapFrom && at < gapTo {
			continue
		}
		times = append(times, int64(at))
		values = append(values, 100*math.Sin(at.Seconds()/7)+float64(len(times)%13))
	}
	return times, values
}

func timeline(t testing.TB, s *Store, from, to time.Duration, px int) Timeline {
	t.Helper()
	line, err := s.Timeline(t.Context(), readChain.Job, []string{"ego.v"}, from, to, px)
	must(t, err)
	return line
}

// Every level must enclose the samples of its columns, at every zoom.
func TestTimelineEnclosesTheSamples(t *testing.T) {
	s := openStore(t)
	times, values := wave(t, 10*time.Millisecond, 20*time.Minute, 300*time.Second, 360*time.Second)
	store(t, s, readChain, pipelinetest.Recut(t, []pipeline.Batch{signals(t, "ego", times, values)}, 50), 7)
	seen := map[float64]bool{}
	for _, c := range []struct {
		from, to time.Duration
		px       int
	}{{0, 0, 1}, {0, 0, 10}, {0, 0, 100}, {0, 0, 1000}, {0, 0, 100000}, {5 * time.Minute, 6 * time.Minute, 300}, {50 * time.Second, 52 * time.Second, 1000},
		{119*time.Second + 1, 777 * time.Second, 333}, {0, time.Hour, 50}} {
		line := timeline(t, s, c.from, c.to, c.px)
		seen[line.BucketS] = true
		if line.BucketS > line.ColumnS || len(line.T) > c.px || len(line.T) != len(line.Series[0].Min) {
			t.Fatalf("%v: %d columns of %g s from buckets of %g s", c, len(line.T), line.ColumnS, line.BucketS)
		}
		checkColumns(t, line, times, values)
	}
	if len(seen) < 5 {
		t.Errorf("only levels %v were read", seen)
	}
}

func checkColumns(t *testing.T, line Timeline, times []int64, values []float64) {
	t.Helper()
	for i, from := range line.T {
		low, high := math.Inf(1), math.Inf(-1)       // of samples that must be in the column
		lowest, highest := math.Inf(1), math.Inf(-1) // of those that may be
		first, _ := slices.BinarySearch(times, int64((from-line.BucketS)*1e9))
		for k := first; k < len(times) && float64(times[k])/1e9 < from+line.ColumnS+line.BucketS; k++ {
			switch s := float64(times[k]) / 1e9; {
			case s >= from+line.BucketS && s < from+line.ColumnS-line.BucketS:
				low, high = min(low, values[k]), max(high, values[k])
				fallthrough
			case s >= from-line.BucketS && s < from+line.ColumnS+line.BucketS:
				lowest, highest = min(lowest, values[k]), max(highest, values[k])
			}
		}
		got := line.Series[0]
		if empty := math.IsInf(lowest, 1); empty != math.IsNaN(got.Min[i]) && (empty || !math.IsInf(low, 1)) {
			t.Fatalf("column at %g s of %g s is [%g, %g], samples are there: %v", from, line.ColumnS, got.Min[i], got.Max[i], !empty)
		}
		slack := 1e-6 * 100
		if got.Min[i] > low || got.Max[i] < high || got.Min[i] < lowest-slack || got.Max[i] > highest+slack || got.Mean[i] < got.Min[i]-slack || got.Mean[i] > got.Max[i]+slack {
			t.Fatalf("column at %g s of %g s is [%g, %g] around %g, samples in it are [%g, %g], near it [%g, %g]", from, line.ColumnS, got.Min[i], got.Max[i], got.Mean[i], low, high, lowest, highest)
		}
	}
}

// A slow signal has no gaps between its samples at any zoom; where samples are missing there is one.
func TestGapsStayGapsAndSlowSignalsHaveNone(t *testing.T) {
	for _, rate := range []time.Duration{time.Second, 5 * time.Second, 300 * time.Millisecond, 10 * time.Millisecond} {
		s := openStore(t)
		times, values := wave(t, rate, 10*time.Minute, 200*time.Second, 260*time.Second)
		store(t, s, readChain, []pipeline.Batch{signals(t, "ego", times, values)}, 1)
		for _, px := range []int{60, 600, 3000} {
			for _, window := range [][2]time.Duration{{0, 600 * time.Second}, {150 * time.Second, 300 * time.Second}, {102 * time.Second, 103 * time.Second}} {
				line := timeline(t, s, window[0], window[1], px)
				for i, from := range line.T {
					inside := from > 200+rate.Seconds()*1.1+line.ColumnS && from+line.ColumnS < 260-line.ColumnS
					outside := from+2*line.ColumnS < 200-rate.Seconds() || from-2*line.ColumnS > 260+rate.Seconds()
					if last := times[len(times)-1]; from > float64(last)/1e9-line.BucketS {
						continue
					}
					if gap := math.IsNaN(line.Series[0].Mean[i]); inside && !gap || outside && gap {
						t.Fatalf("samples every %v, window %v of %d px: column at %g s is %g", rate, window, px, from, line.Series[0].Mean[i])
					}
				}
			}
		}
	}
}

// However rows are cut into batches, every bit of the overview is the same, its state encoded and decoded between any two.
func TestOverviewDependsOnRowsAlone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 400).Draw(rt, "rows")
		times, values := make([]int64, n), make([]float64, n)
		at := rapid.Int64Range(-1e9, 1e9).Draw(rt, "first")
		for i := range times {
			at += rapid.SampledFrom([]int64{0, 1, 1e7, 5e7, 2e8, 1e9, 3e10, 4e12}).Draw(rt, "step")
			times[i] = at
			values[i] = rapid.OneOf(rapid.Float64(), rapid.Just(math.NaN()), rapid.Just(math.Inf(1)), rapid.Float64Range(-1, 1)).Draw(rt, "value")
		}
		whole := []pipeline.Batch{signals(t, "ego", times, values)}
		cut := pipelinetest.Recut(t, whole, rapid.IntRange(1, 30).Draw(rt, "parts"))
		if got, want := overview(t, cut), overview(t, whole); !maps.Equal(got, want) {
			rt.Fatalf("in %d batches the overview is\n%v\nwant\n%v", len(cut), got, want)
		}
	})
}

// overview is what the store would hold of a table: chunks and state.
func overview(t *testing.T, batches []pipeline.Batch) map[string]string {
	t.Helper()
	chunks, state := map[chunkKey]*chunk{}, (&tableFold{}).encode()
	for _, b := range batches {
		f, err := decodeFold(state)
		must(t, err)
		f.fold(b.Tables[0], func(c closed) {
			k := chunkKey{level: c.level, chunk: floorDiv(c.index, chunkBuckets)}
			if chunks[k] == nil {
				chunks[k] = &chunk{}
			}
			i := int(c.index - k.chunk*chunkBuckets)
			if chunks[k].has(i) {
				t.Fatalf("bucket %d of level %d was closed twice", c.index, c.level)
			}
			chunks[k].put(i, c.bucket)
		})
		state = f.encode()
	}
	out := map[string]string{"state": string(state)}
	for k, c := range chunks {
		out[fmt.Sprint(k)] = string(c.encode())
	}
	return out
}

// The same in the store, with commits at other places.
func TestStoreDependsOnRowsAlone(t *testing.T) {
	times, values := wave(t, 70*time.Millisecond, 5*time.Minute, 100*time.Second, 130*time.Second)
	whole := []pipeline.Batch{signals(t, "ego", times, values)}
	want := dumpAfter(t, func(s *Store) { store(t, s, readChain, whole, 1) })
	for _, parts := range []int{2, 13} {
		cut := pipelinetest.Recut(t, whole, parts)
		if got := dumpAfter(t, func(s *Store) { store(t, s, readChain, cut, 3) }); got != want {
			t.Errorf("in %d batches the store holds\n%s\nwant\n%s", len(cut), got, want)
		}
	}
}

func dumpAfter(t *testing.T, f func(*Store)) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), FileName)
	s, err := Open(t.Context(), file)
	must(t, err)
	f(s)
	must(t, s.Close())
	d, err := dump(t, file)
	must(t, err)
	return d
}

func TestLateRowsAreCountedAndLeftOut(t *testing.T) {
	s := openStore(t)
	a, b := signals(t, "ego", []int64{0, 5e9}, []float64{1, 2}), signals(t, "ego", []int64{1e9, 6e9}, []float64{1000, 3})
	store(t, s, readChain, []pipeline.Batch{a, b}, 1)
	got, err := s.Signals(t.Context(), readChain.Job)
	must(t, err)
	if len(got) != 1 || got[0].Late != 1 || got[0].Rows != 3 || got[0].LastS != 6 || got[0].Unit != "m/s" || got[0].Ref != "read/ego.v" {
		t.Fatalf("%+v", got)
	}
	if line := timeline(t, s, 0, 0, 1); line.Series[0].Max[0] != 3 {
		t.Fatalf("%+v", line)
	}
}

func TestSignalNames(t *testing.T) {
	s := openStore(t)
	ego, other := signals(t, "ego", []int64{0}, []float64{1}), signals(t, "gnss", []int64{0}, []float64{2})
	ego.Tables = append(ego.Tables, other.Tables...)
	faults, err := schemas.NewTable(schemas.TableFaults("ego"), []int64{0}, schemas.Column{Name: schemas.ColBehind, Float64: []float64{1}})
	must(t, err)
	ego.Tables = append(ego.Tables, faults)
	store(t, s, readChain, []pipeline.Batch{ego}, 1)
	for ref, want := range map[string]error{"read/ego.v": nil, "gnss.v": nil, "v": ErrAmbiguous, "x": ErrNotFound, "faults.ego.behind": ErrNotFound} {
		line, err := s.Timeline(t.Context(), readChain.Job, []string{ref}, 0, 0, 10)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", ref, err)
		}
		if want == nil && len(line.Series) != 1 {
			t.Errorf("%s: %+v", ref, line)
		}
	}
	if line, err := s.Timeline(t.Context(), "j-none", nil, 0, 0, 10); err != nil || len(line.Series) != 0 {
		t.Error(line, err)
	}
}

func TestValuesInJSON(t *testing.T) {
	data, err := json.Marshal(Values{1, math.NaN(), math.Inf(-1), 0.1, 1e30})
	if want := "[1,null,null,0.1,1e+30]"; err != nil || string(data) != want {
		t.Fatal(string(data), err)
	}
}

func TestChunkRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, want := &chunk{}, map[int]bucket{}
		for range rapid.IntRange(0, chunkBuckets).Draw(t, "filled") {
			v := rapid.SliceOfN(rapid.Float64(), 2, 2).Draw(t, "values")
			b := bucket{Min: slices.Min(v), Max: slices.Max(v), Sum: v[0]/2 + v[1]/2, Count: rapid.Uint32Min(1).Draw(t, "count")}
			i := rapid.IntRange(0, chunkBuckets-1).Draw(t, "index")
			want[i] = b
			c.put(i, b)
		}
		got, err := decodeChunk(c.encode())
		if err != nil || *got != *c {
			t.Fatalf("%v: %+v, want %+v", err, got, c)
		}
		for i, b := range want {
			g := got.bucket(i)
			inside := math.Abs(b.Min) <= math.MaxFloat32 && math.Abs(b.Max) <= math.MaxFloat32
			if g.Count != b.Count || inside && (g.Min > b.Min || g.Max < b.Max) {
				t.Fatalf("bucket %d is %+v, want %+v", i, g, b)
			}
		}
	})
}

func FuzzDecodeChunk(f *testing.F) {
	c := &chunk{}
	for i := range 40 {
		c.put(3*i, bucket{Min: 1, Max: 2, Sum: 3, Count: 2})
	}
	f.Add(c.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := decodeChunk(data); err == nil {
			_ = c.encode()
		}
	})
}
