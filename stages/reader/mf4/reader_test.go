package mf4

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// tables gathers the rows of all batches, by table: the time in nanoseconds and the values.
func tables(batches []pipeline.Batch) map[string][][]float64 {
	all := map[string][][]float64{}
	for _, b := range batches {
		for _, table := range b.Tables {
			for i, t := range table.Times() {
				row := []float64{float64(t)}
				for _, name := range table.Signals() {
					row = append(row, table.Float64(name)[i])
				}
				all[table.Name] = append(all[table.Name], row)
			}
		}
	}
	return all
}

func readOnly(t *testing.T, cfg Config) []pipeline.Batch {
	t.Helper()
	items, _ := build(t, cfg)
	if len(items) != 1 {
		t.Fatalf("%d items, want one", len(items))
	}
	return pipelinetest.ReadAll(t, Type, cfg, items[0])
}

func wantRows(t *testing.T, got, want [][]float64) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 1e-12)); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
}

const physical = `
bindings:
  car:
    kind: physical
    ego_speed: {channels: [L, R], factor: 0.5}
    yaw_rate: {channel: [Missing, Yaw], offset: 1, factor: 2}
    driver_brake: {channel: Brake}
    tracks:
      - {long_dist: X, lat_dist: Y, lat_factor: -1, rel_speed: V, valid: Ok, new_track: New}
      - {long_dist: X, rel_speed: V}
logs: {"*.mf4": {binding: car}}
`

func TestPhysicalRules(t *testing.T) {
	cfg := setup(t, physical,
		group{"wheels", []mdf.ChannelSpec{signal("L", "km/h"), signal("R", "km/h")},
			[][]float64{{0.1, 10, 20}, {0.2, 10, 20}, {0.3, 30, math.NaN()}, {0.4, 50, 70}}, map[int][]int{0: {1}}},
		group{"yaw", []mdf.ChannelSpec{signal("Yaw", "")}, [][]float64{{0.15, 3}}, nil},
		group{"brake", []mdf.ChannelSpec{signal("Brake", "")}, [][]float64{{0.1, 0}, {0.2, 7}}, nil},
		group{"radar", []mdf.ChannelSpec{signal("X", "m"), signal("Y", "m"), signal("V", "m/s"), signal("Ok", ""), signal("New", "")},
			[][]float64{{1, 50, 2, -3, 1, 1}, {1.05, 49, 2, -3, 0, 0}, {1.1, 48, 2, -3, 1, 0}, {1.15, 47, 2, -3, 1, 0}}, map[int][]int{0: {2}, 2: {3}}},
	)
	got := tables(readOnly(t, cfg))
	wantRows(t, got[schemas.TableEgo], [][]float64{{1e8, 7.5}, {4e8, 30}})
	wantRows(t, got[schemas.TableFaults(schemas.TableEgo)], [][]float64{{2e8, 0, 1, 1, 0, 0, 0, 0}, {3e8, 0, 1, 1, 0, 0, 0, 0}})
	wantRows(t, got[schemas.TableYaw], [][]float64{{1.5e8, 8}})
	wantRows(t, got[schemas.TableBrake], [][]float64{{1e8, 0}, {2e8, 1}})
	nan := math.NaN()
	wantRows(t, got[schemas.TableTrack(0)], [][]float64{{1e9, 50, -2, -3, 1, 1}, {1.05e9, 49, -2, -3, 0, 0}, {1.1e9, nan, -2, -3, 0, 0}, {1.15e9, 47, -2, nan, 0, 0}})
	wantRows(t, got[schemas.TableTrack(1)], [][]float64{{1e9, 50, 0, -3, 1, 0}, {1.05e9, 49, 0, -3, 1, 0}, {1.1e9, nan, 0, -3, 0, 0}, {1.15e9, 47, 0, nan, 0, 0}})
}

func TestTimesAreRoundedToNanoseconds(t *testing.T) {
	for s, want := range map[float64]int64{0: 0, 0.3: 300000000, 1.0000000005: 1000000001, -0.5: -500000000, 1e9 + 0.25: 1000000000250000000} {
		if got, ok := nanoseconds(s); got != want || !ok {
			t.Errorf("%v s = %d ns, %v, want %d", s, got, ok, want)
		}
	}
	for _, s := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e10} {
		if _, ok := nanoseconds(s); ok {
			t.Errorf("%v s is taken for a time", s)
		}
	}
}

const canDBC = `VERSION ""
BU_: X
BO_ 170 WHEELS: 8 X
 SG_ A : 7|16@0+ (0.01,0) [0|0] "km/h" X
 SG_ B : 23|16@0+ (0.01,0) [0|0] "km/h" X
 SG_ OK : 32|1@1+ (1,0) [0|1] "" X
BO_ 528 TRACK: 8 X
 SG_ LONG_DIST : 0|16@1+ (0.01,0) [0|0] "m" X
 SG_ LAT_DIST : 16|8@1- (0.1,0) [0|0] "m" X
 SG_ REL_SPEED : 24|16@1- (0.01,0) [0|0] "m/s" X
 SG_ VALID : 40|1@1+ (1,0) [0|1] "" X
`

const canBindings = `
bindings:
  car:
    kind: can
    ego_speed: {bus: 1, id: 170, dbc: car.dbc, signals: [A, B], valid_signal: OK, factor: 0.5}
    tracks:
      - {bus: 2, id: 528, dbc: car.dbc, lat_factor: -1}
      - {bus: 3, id: 528, dbc: car.dbc, optional: true}
    signals:
      front: {bus: 1, id: 170, dbc: car.dbc, signal: A, unit: m/s}
logs: {"*.mf4": {binding: car, duplicate_of: b.mf4}}
`

func wheels(t float64, bus uint8, a, b uint16, ok byte) mdf.Frame {
	return mdf.Frame{Time: t, Bus: bus, ID: 170, Data: []byte{byte(a >> 8), byte(a), byte(b >> 8), byte(b), ok}}
}

func canSetup(t testing.TB, frames ...mdf.Frame) Config {
	t.Helper()
	cfg := setup(t, canBindings)
	write(t, filepath.Join(folder(cfg), "dbc", "car.dbc"), canDBC)
	recordFrames(t, filepath.Join(folder(cfg), "a.mf4"), frames...)
	return cfg
}

func TestCANRules(t *testing.T) {
	track := []byte{0x10, 0x27, 0xF6, 0x9C, 0xFF, 1}
	cfg := canSetup(t,
		wheels(0.1, 1, 3600, 7200, 1), wheels(0.2, 2, 3600, 3600, 1), wheels(0.3, 1, 3600, 3600, 0),
		mdf.Frame{Time: 0.4, Bus: 1, ID: 170, Data: []byte{14, 16}},
		mdf.Frame{Time: 0.5, Bus: 2, ID: 528, Data: track}, mdf.Frame{Time: 0.55, Bus: 2, ID: 528, Extended: true, Data: track},
		mdf.Frame{Time: 0.6, Bus: 2, ID: 528, Data: track[:4]}, mdf.Frame{Time: 0.7, Bus: 2, ID: 999})
	got := tables(readOnly(t, cfg))
	wantRows(t, got[schemas.TableEgo], [][]float64{{1e8, 27}})
	wantRows(t, got[schemas.TableFaults(schemas.TableEgo)], [][]float64{{3e8, 0, 1, 1, 0, 0, 0, 0}, {4e8, 0, 1, 1, 0, 0, 0, 0}})
	wantRows(t, got[schemas.TableTrack(0)], [][]float64{{5e8, 100, 1, -1, 1, 0}, {5.5e8, 100, 1, -1, 1, 0}, {6e8, 100, 1, math.NaN(), 0, 0}})
	if got[schemas.TableTrack(1)] != nil {
		t.Errorf("slot 1 has rows of another bus: %v", got[schemas.TableTrack(1)])
	}
	wantRows(t, got["WHEELS"], [][]float64{{1e8, 10}, {3e8, 10}, {4e8, 10}})
}

func TestJ1939SignalsComeFromEveryPriorityAndSourceAddress(t *testing.T) {
	cfg := setup(t, `
bindings:
  truck:
    kind: can
    signals:
      speed: {id: 0x0CF004FE, dbc: truck.dbc, signal: Speed}
      short: {id: 0x123, dbc: truck.dbc, signal: Short}
logs: {"*.mf4": {binding: truck}}
`)
	write(t, filepath.Join(folder(cfg), "dbc", "truck.dbc"), `BO_ 2364540158 EEC1: 8 X
 SG_ Speed : 24|16@1+ (0.125,0) [0|0] "" X
BO_ 2364539905 FromOne: 8 X
 SG_ Speed : 24|16@1+ (100,0) [0|0] "" X
BO_ 291 S: 8 X
 SG_ Short : 0|8@1+ (1,0) [0|0] "" X
BO_ 2147483939 L: 8 X
 SG_ Long : 0|8@1+ (2,0) [0|0] "" X
BA_ "ProtocolType" "J1939";
`)
	payload := []byte{9, 0, 0, 0x40, 0x1f, 0, 0, 0}
	recordFrames(t, filepath.Join(folder(cfg), "a.mf4"), mdf.Frame{Time: 1, Bus: 1, ID: 0x0CF00400, Extended: true, Data: payload},
		mdf.Frame{Time: 2, Bus: 1, ID: 0x18F00421, Extended: true, Data: payload}, // another priority and source address
		mdf.Frame{Time: 3, Bus: 1, ID: 0x0CF00401, Extended: true, Data: payload}, // is FromOne
		mdf.Frame{Time: 4, Bus: 1, ID: 0x0CF00500, Extended: true, Data: payload}, // another group
		mdf.Frame{Time: 5, Bus: 1, ID: 0x123, Extended: true, Data: payload},      // is L
		mdf.Frame{Time: 6, Bus: 1, ID: 0x123, Data: payload})
	got := tables(readOnly(t, cfg))
	wantRows(t, got["EEC1"], [][]float64{{1e9, 1000}, {2e9, 1000}})
	wantRows(t, got["S"], [][]float64{{6e9, 9}})
}

func TestCANRecordingOfAnotherCarNamesTheClosestIDs(t *testing.T) {
	cfg := canSetup(t, mdf.Frame{Time: 1, Bus: 1, ID: 172, Data: make([]byte, 8)}, mdf.Frame{Time: 2, Bus: 1, ID: 0x600, Data: make([]byte, 8)},
		mdf.Frame{Time: 3, Bus: 1, ID: 171, Data: make([]byte, 8)})
	wantText(t, failure(t, cfg), "no frame with id 170", "closest ids in the recording: 0xab on bus 1 (1 away), 0xac on bus 1 (2 away), 0x600")
}

func TestCANRecordingWithoutABoundMessageFailsAtItsEnd(t *testing.T) {
	cfg := canSetup(t, wheels(0.1, 4, 3600, 3600, 1), mdf.Frame{Time: 0.5, Bus: 2, ID: 528, Data: make([]byte, 8)})
	err := failure(t, cfg)
	wantText(t, err, `a.mf4: no frame with id 170 (0xaa, WHEELS) on bus 1 for signal ego_speed, front [E-channel]`, "the id was seen on bus 4", "optional: true")
	if !pipeline.IsPermanent(err) {
		t.Error("the error is not permanent")
	}
}

// A slot of the object list on a bus of its own is missed like any signal; one that its sensor leaves out is not.
func TestASlotOnTheWrongBusIsMissed(t *testing.T) {
	track := []byte{0x10, 0x27, 0xF6, 0x9C, 0xFF, 1}
	recorded := []mdf.Frame{wheels(0.1, 1, 3600, 7200, 1), {Time: 0.5, Bus: 2, ID: 528, Data: track}, {Time: 0.6, Bus: 2, ID: 529, Data: track}}
	slots := func(third string) Config {
		cfg := canSetup(t, recorded...)
		text := strings.Replace(canBindings, "      - {bus: 3, id: 528, dbc: car.dbc, optional: true}\n", "      - "+third+"\n", 1)
		write(t, cfg.Bindings, text)
		write(t, filepath.Join(folder(cfg), "dbc", "car.dbc"), canDBC+strings.ReplaceAll(canDBC[strings.Index(canDBC, "BO_ 528"):], "528 TRACK", "529 OTHER")+
			strings.ReplaceAll(canDBC[strings.Index(canDBC, "BO_ 528"):], "528 TRACK", "530 SILENT"))
		return cfg
	}
	wantText(t, failure(t, slots("{bus: 1, id: 529, dbc: car.dbc}")), "no frame with id 529 (0x211, OTHER) on bus 1 for signal tracks[1]", "the id was seen on bus 2", "optional: true")
	readOnly(t, slots("{bus: 2, id: 530, dbc: car.dbc}"))
}

func TestStepsBackInTimeAreSortedOrReported(t *testing.T) {
	rows := [][]float64{{1, 10}, {2, 20}, {1.5, 15}, {1.5, 16}, {3, 30}, {0.5, 5}, {2.0, 21}}
	cfg := setup(t, `
bindings: {car: {kind: physical, ego_speed: {channel: V}}}
logs: {a.mf4: {binding: car}}`, group{"g", []mdf.ChannelSpec{signal("V", "m/s")}, rows, nil})
	got := tables(readOnly(t, cfg))
	wantRows(t, got[schemas.TableEgo], [][]float64{{1e9, 10}, {1.5e9, 15}, {1.5e9, 16}, {2e9, 20}, {2e9, 21}, {3e9, 30}})
	wantRows(t, got[schemas.TableFaults(schemas.TableEgo)],
		[][]float64{{2e9, 0.5, 0, 0, 0, 0, 0, 0}, {2e9, 0.5, 0, 0, 0, 0, 0, 0}, {3e9, 2.5, 0, 1, 0, 0, 0, 0}, {3e9, 1, 0, 0, 0, 0, 0, 0}})
}

// drive is a recording of three groups at different rates, with steps back in time and invalid samples.
func drive(t *testing.T, seconds float64) Config {
	wave := func(t float64) float64 { return math.Sin(t) }
	fast := group{"fast", []mdf.ChannelSpec{signal("L", "km/h"), signal("R", "km/h"), signal("Brake", "")},
		ramp(100, seconds, wave, wave, constant(0)), map[int][]int{1: {17, 18, 19, 200}}}
	for i := 50; i < len(fast.rows); i += 50 {
		fast.rows[i][0] -= 0.3
	}
	fast.rows[len(fast.rows)-2][0] -= 2
	slow := group{"slow", []mdf.ChannelSpec{signal("Yaw", "deg/s")}, ramp(1, seconds, wave), nil}
	radar := group{"radar", []mdf.ChannelSpec{signal("X", "m"), signal("Y", "m"), signal("V", "m/s"), signal("Ok", ""), signal("New", "")},
		ramp(20, seconds/2, constant(50), wave, wave, constant(1), constant(0)), nil}
	return setup(t, physical, fast, slow, radar)
}

func TestReaderSuite(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"native": func(*Config) {}, "small slices": func(c *Config) { c.SliceBytes = 1 << 10 },
		"raster":        func(c *Config) { c.Raster, c.SliceBytes = 10*time.Millisecond, 4<<10 },
		"coarse raster": func(c *Config) { c.Raster, c.SliceMax = 700*time.Millisecond, time.Second },
		"paced":         func(c *Config) { c.Speed = "10x" }, "part": func(c *Config) { c.From, c.To, c.SliceBytes = 3*time.Second, 12*time.Second, 2<<10 },
		"no window":   func(c *Config) { c.ReorderWindow, c.SliceBytes = 0, 2<<10 },
		"part raster": func(c *Config) { c.Raster, c.To = 50*time.Millisecond, 4*time.Second },
		"signals":     func(c *Config) { c.Signals = readSignals },
		"all raster":  func(c *Config) { c.Signals, c.Raster = readSignals, 20*time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := drive(t, 15)
			change(&cfg)
			items, _ := build(t, cfg)
			pipelinetest.TestReader(t, Type, cfg, items[0])
		})
	}
}

func TestSlicesAreCutByBytesAndByDuration(t *testing.T) {
	cfg := drive(t, 15)
	cfg.SliceBytes, cfg.SliceMax = 8<<10, 4*time.Second
	for i, b := range readOnly(t, cfg) {
		bytes := 0
		for _, table := range b.Tables {
			bytes += table.Rows() * 8 * (1 + len(table.Signals()))
		}
		if bytes > 9<<10 || b.To-b.From > 4*time.Second {
			t.Errorf("slice %d has %d bytes from %v to %v", i, bytes, b.From, b.To)
		}
	}
}

func TestPacedSlicesLeaveInTime(t *testing.T) {
	cfg := drive(t, 10)
	cfg.Speed, cfg.From = "5x", 2*time.Second
	items, open := build(t, cfg)
	r, err := open(t.Context(), items[0])
	must(t, err)
	defer r.Close()
	for i := 0; ; i++ {
		b, err := r.Read(t.Context())
		if errors.Is(err, io.EOF) {
			if i < 15 {
				t.Errorf("%d batches of 500 ms in 8 s", i)
			}
			return
		}
		must(t, err)
		if want := (b.From - cfg.From) / 5; b.Pace != want || b.To-b.From > 500*time.Millisecond {
			t.Errorf("batch %d from %v to %v leaves at %v, want %v", i, b.From, b.To, b.Pace, want)
		}
	}
}

func TestRasterHoldsTheLastValue(t *testing.T) {
	cfg := setup(t, "", group{"a", []mdf.ChannelSpec{signal("V", "km/h")}, [][]float64{{0.005, 1}, {0.010, 2}, {0.034, 3}}, nil},
		group{"b", []mdf.ChannelSpec{signal("X", "m")}, [][]float64{{0.021, 7}, {0.052, 8}}, nil})
	cfg.Raster = 10 * time.Millisecond
	cfg.Signals = signals(`{v: {channel: V}, x: {channel: X}}`)
	nan := math.NaN()
	wantRows(t, tables(readOnly(t, cfg))[TableSignals],
		[][]float64{{1e7, 2, nan}, {2e7, 2, nan}, {3e7, 2, 7}, {4e7, 3, 7}, {5e7, 3, 7}})
}

func TestPartOfARecording(t *testing.T) {
	cfg := setup(t, "", group{"a", []mdf.ChannelSpec{signal("V", "")}, ramp(10, 10, func(t float64) float64 { return t }), nil})
	cfg.Signals = signals(`{v: {channel: V}}`)
	cfg.From, cfg.To = 2*time.Second, 2500*time.Millisecond
	wantRows(t, tables(readOnly(t, cfg))["a"], [][]float64{{2e9, 2}, {2.1e9, 2.1}, {2.2e9, 2.2}, {2.3e9, 2.3}, {2.4e9, 2.4}})
}

// TestFromSkipsWhatLiesBefore counts: only what is wanted, and what may have stepped back into it, is read.
func TestFromSkipsWhatLiesBefore(t *testing.T) {
	cfg := setup(t, "", group{"a", []mdf.ChannelSpec{signal("V", "")}, ramp(100, 600, func(t float64) float64 { return t }), nil})
	cfg.Signals = signals(`{v: {channel: V}}`)
	whole := tables(readOnly(t, cfg))["a"]
	cfg.From = 580 * time.Second
	items, open := build(t, cfg)
	r, err := open(t.Context(), items[0])
	must(t, err)
	defer r.Close()
	var got [][]float64
	for {
		b, err := r.Read(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		got = append(got, tables([]pipeline.Batch{b})["a"]...)
	}
	wantRows(t, got, whole[58000:])
	source := r.(*recordingReader).plan.sources[0]
	if first := source.marks[0].Position.Record; first < 50000 {
		t.Errorf("the first place noted is record %d of 60000", first)
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	cfg := drive(t, 5)
	items, _ := build(t, cfg)
	if err := pipelinetest.CancelledRead(t, Type, cfg, items[0]); err == nil || errors.Is(err, io.EOF) || pipeline.IsPermanent(err) {
		t.Errorf("error = %v, want the context's", err)
	}
}

func TestTimesThatStandStillAreRefused(t *testing.T) {
	cfg := setup(t, "", group{"a", []spec{signal("V", "")}, ramp(1000, 10, constant(0)), nil})
	cfg.Signals, cfg.ReorderWindow = signals(`{v: {channel: V}}`), time.Minute
	items, open := build(t, cfg)
	r, err := open(t.Context(), items[0])
	must(t, err)
	defer r.Close()
	r.(*recordingReader).maxHeld = 64 << 10
	_, err = r.Read(t.Context())
	wantText(t, err, "a.mf4: more than 64KiB of samples between 0s", "its times do not advance")
	if !pipeline.IsPermanent(err) {
		t.Error("the error is not permanent")
	}
}

func TestSnapshotsAreSmall(t *testing.T) {
	cfg := drive(t, 60)
	items, open := build(t, cfg)
	r, err := open(t.Context(), items[0])
	must(t, err)
	defer r.Close()
	for {
		_, err := r.Read(t.Context())
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		state, err := r.Snapshot(t.Context())
		must(t, err)
		if len(state) > 4<<10 {
			t.Fatalf("snapshot of %d bytes: %s", len(state), state)
		}
	}
}

// A reader lists its recordings and opens each as batches of tables, one a time base.
func ExampleType() {
	cfg := Defaults
	cfg.Paths = pipeline.Strings{"../../../samples/sim_driver_*.mf4"}
	cfg.Bindings = "../../../samples/signals.yaml"
	ctx := context.Background()
	parts, err := Type.Assemble(ctx, &cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	items, err := parts.List(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := parts.Reader(ctx, items[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	b, err := r.Read(ctx)
	fmt.Println(items[0].Name, b.Time().Format(time.DateTime), b.To, err)
	for _, table := range b.Tables {
		fmt.Println(table.Name, table.Rows(), table.Signals())
	}
	// Output:
	// sim_driver_brakes.mf4 2026-03-14 09:10:00 24.004717001s <nil>
	// ego 1201 [v]
	// yaw 1201 [rate]
	// brake 600 [on]
	// track00 480 [x y r valid new]
	// track01 480 [x y r valid new]
	// track02 480 [x y r valid new]
	// track03 480 [x y r valid new]
	// vehicle_motion 1201 [long_accel steering_angle]
}
