package mf4

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// twoBuses has frames of one id on buses 0 and 1, and a binding with this text behind its id.
func twoBuses(t *testing.T, bus string) Config {
	t.Helper()
	cfg := canSetup(t, wheels(0.1, 0, 100, 100, 1), wheels(0.2, 1, 200, 200, 1), wheels(0.3, 0, 300, 300, 1), wheels(0.4, 1, 400, 400, 1))
	write(t, cfg.Bindings, `
bindings: {car: {kind: can, signals: {a: {id: 170, dbc: car.dbc, signal: A`+bus+`}}}}
logs: {"*.mf4": {binding: car}}`)
	return cfg
}

func TestBusZeroIsABusAsAnyOther(t *testing.T) {
	wantRows(t, tables(readOnly(t, twoBuses(t, ", bus: 1")))["WHEELS"], [][]float64{{2e8, 2}, {4e8, 4}})
	wantRows(t, tables(readOnly(t, twoBuses(t, ", bus: 0")))["WHEELS"], [][]float64{{1e8, 1}, {3e8, 3}})
	wantText(t, failure(t, twoBuses(t, ", bus: 7")), "no frame with id 170 (0xaa, WHEELS) on bus 7 for signal a [E-channel]",
		"there is no bus 7 in the recording, it has bus 0 and bus 1", "the id was seen on bus 0 and bus 1")
}

// A signal made of the frames of two buses would be that of neither.
func TestABindingWithoutABusIsRefusedWhereTheIDIsOnSeveral(t *testing.T) {
	err := failure(t, twoBuses(t, ""))
	wantText(t, err, "a.mf4: frames with id 170 (0xaa, WHEELS) are on bus 0 and bus 1, and the binding does not say which of them makes signal a [E-channel]",
		"next: add `bus: 0` or `bus: 1` to the signal in the binding")
	if !pipeline.IsPermanent(err) {
		t.Error("the error is not permanent")
	}
	cfg := twoBuses(t, "")
	cfg.To = 150 * time.Millisecond // where only one of them is
	wantRows(t, tables(readOnly(t, cfg))["WHEELS"], [][]float64{{1e8, 1}})
}

// Where a restart begins behind the frames of the first bus, it still knows of them.
func TestTheBusOfASignalIsKnownAfterARestart(t *testing.T) {
	frames := []mdf.Frame{wheels(0.0001, 0, 100, 100, 1)}
	for i := range 60_000 {
		frames = append(frames, mdf.Frame{Time: 0.001 * float64(i+1), Bus: 0, ID: 0x300})
	}
	cfg := canSetup(t, append(frames, wheels(61, 1, 200, 200, 1))...)
	write(t, cfg.Bindings, `
bindings: {car: {kind: can, signals: {a: {id: 170, dbc: car.dbc, signal: A}}}}
logs: {"*.mf4": {binding: car}}`)
	items, open := build(t, cfg)
	first, err := open(t.Context(), items[0])
	must(t, err)
	defer first.Close()
	_, err = first.Read(t.Context())
	must(t, err)
	snapshot, err := first.Snapshot(t.Context())
	must(t, err)
	if !strings.Contains(string(snapshot), `"buses":[0]`) {
		t.Fatalf("%s: the place lies before the frame of bus 0", snapshot)
	}
	second, err := open(t.Context(), items[0])
	must(t, err)
	defer second.Close()
	must(t, second.Restore(t.Context(), snapshot))
	for err == nil {
		_, err = second.Read(t.Context())
	}
	wantText(t, err, "are on bus 0 and bus 1")
}

// Groups that say no bus are taken whatever bus a binding names.
func TestFramesOfAnUnknownBusAreTakenForAny(t *testing.T) {
	cfg := twoBuses(t, ", bus: 7")
	file := filepath.Join(folder(cfg), "a.mf4")
	rename(t, file, "CAN_DataFrame.BusChannel", "CAN_DataFrame.BusChannex")
	wantRows(t, tables(readOnly(t, cfg))["WHEELS"], [][]float64{{1e8, 1}, {2e8, 2}, {3e8, 3}, {4e8, 4}})
}

func TestSignalsThatCannotBeDecodedAreToldByLint(t *testing.T) {
	const database = `BO_ 99 Old: 8 X
 SG_ a : 0|8@1+ (1,0) [0|0] "" X
BO_ 99 New: 8 X
 SG_ wide : 0|65@1+ (1,0) [0|0] "" X
 SG_ behind : 60|16@1+ (1,0) [0|0] "" X
BO_ 100 Other: 8 X
 SG_ wide : 0|65@1+ (1,0) [0|0] "" X
`
	cfg := setup(t, "", group{"g", []mdf.ChannelSpec{signal("V", "")}, ramp(10, 1, constant(1)), nil})
	cfg.DBCDir = pipeline.Strings{folder(cfg)}
	file := filepath.Join(folder(cfg), "odd.dbc")
	write(t, file, database)
	cfg.Signals = signals(`{w: {id: 99, dbc: odd.dbc, signal: wide}}`)
	wantText(t, errors.Join(cfg.Check()...), "signals.w.signal", "signal wide in "+file+":4 never has a value: it is of 65 bits")
	cfg.Signals = signals(`{b: {id: 99, dbc: odd.dbc, signal: behind}}`)
	warnings := cfg.Warnings()
	if len(warnings) != 2 || len(cfg.Check()) != 0 {
		t.Fatalf("%v, %v", warnings, cfg.Check())
	}
	wantText(t, warnings[0], file+":3: message New has the id 99 of message Old in line 1")
	wantText(t, warnings[1], file+":5: signal behind of message New has a value in longer frames only")
	var f *pipeline.FieldError
	if !errors.As(warnings[1], &f) || f.Code != "W-dbc" || f.Path != "signals.b" {
		t.Errorf("%+v", f)
	}
}

func TestASignalThatNoFrameSelectsIsMissed(t *testing.T) {
	cfg := setup(t, "")
	cfg.DBCDir = pipeline.Strings{folder(cfg)}
	write(t, filepath.Join(folder(cfg), "mux.dbc"), "BO_ 99 M: 8 X\n SG_ s M : 0|8@1+ (1,0) [0|0] \"\" X\n SG_ third m3 : 8|8@1+ (1,0) [0|0] \"\" X\n")
	cfg.Signals = signals(`{c: {id: 99, dbc: mux.dbc, signal: third}}`)
	recordFrames(t, filepath.Join(folder(cfg), "a.mf4"), mdf.Frame{Time: 1, Bus: 1, ID: 99, Data: make([]byte, 8)})
	wantText(t, failure(t, cfg), "no frame that holds its signals with id 99 (0x63, M) on any bus for signal c [E-channel]")
}
