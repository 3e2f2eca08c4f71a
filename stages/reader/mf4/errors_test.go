package mf4

import (
	"bytes"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	yamlfile "github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
	"github.com/milepost-dev/milepost/stages/reader/mf4/binding"
)

// signals decodes short-form signals.
func signals(text string) map[string]binding.Ref {
	var m map[string]binding.Ref
	if err := yamlfile.DecodeFile("signals", []byte(text), "the test", &m).Err(); err != nil {
		panic(err)
	}
	return m
}

var readSignals = signals(`{speed: {channel: [Nope, L], unit: m/s}, yaw: {channel: Yaw}, brake: {channel: B, optional: true}}`)

func TestAllMissingChannelsAreToldWithCloseNames(t *testing.T) {
	cfg := setup(t, "", group{"VehicleDynamics", []mdf.ChannelSpec{signal("VehSpd_kph", "km/h"), signal("YawRate", "deg/s")}, ramp(10, 1, constant(1), constant(2)), nil},
		group{"CAN1", []mdf.ChannelSpec{signal("VehicleSpeed", "km/h")}, ramp(10, 1, constant(1)), nil})
	cfg.Signals = signals(`{ego_speed: {channel: VehSpd}, yaw: {channel: [Yaw_Rate, YR]}, x: {channel: Qqq}, y: {channel: Rrr, optional: true}}`)
	err := failure(t, cfg)
	wantText(t, err,
		`a.mf4: no channel "VehSpd" for signal ego_speed [E-channel]`,
		`close names: VehSpd_kph (VehicleDynamics, km/h), VehicleSpeed (CAN1, km/h)`,
		"next: add one to the list, `channel: [VehSpd, VehSpd_kph]`, or set `optional: true`",
		`a.mf4: no channel "Yaw_Rate", "YR" for signal yaw [E-channel]`, `YawRate (VehicleDynamics, deg/s)`,
		`a.mf4: no channel "Qqq" for signal x [E-channel]`, "`milepost inspect` lists the channels")
	if !pipeline.IsPermanent(err) {
		t.Error("the error is not permanent")
	}
}

func TestChannelsOfAMeanNeedOneTimeBase(t *testing.T) {
	cfg := setup(t, physical, group{"a", []mdf.ChannelSpec{signal("L", ""), signal("Yaw", ""), signal("Brake", ""), signal("X", ""), signal("Y", "")}, nil, nil},
		group{"b", []mdf.ChannelSpec{signal("R", ""), signal("V", ""), signal("Ok", ""), signal("New", "")}, nil, nil})
	wantText(t, failure(t, cfg), `a.mf4: channels "L", "R" lie in different groups, so they have no common time base for signal ego_speed [E-channel]`,
		`"X", "V", "Y", "Ok", "New" lie in different groups`, "for signal tracks[0]")
}

func TestUnitsAreConverted(t *testing.T) {
	cfg := setup(t, "", group{"a", []mdf.ChannelSpec{signal("V", "km/h"), signal("W", "rpm")}, [][]float64{{0, 36, 1}}, nil})
	cfg.Signals = signals(`{ego_speed: {channel: V}, v: {channel: V, unit: m/s}, f: {channel: V, unit: m/s, factor: 2}}`)
	got := tables(readOnly(t, cfg))
	wantRows(t, got["a"], [][]float64{{0, 36, 72, 10}}) // ego_speed, f, v
	wantRows(t, got[schemas.TableEgo], [][]float64{{0, 10}})
	cfg.Signals = signals(`{w: {channel: W, unit: m/s}}`)
	wantText(t, failure(t, cfg), `unit "rpm" cannot be converted to "m/s"`)
}

func TestWhatIsNoRecordingIsAPermanentError(t *testing.T) {
	cfg := setup(t, "")
	cfg.Signals = readSignals
	write(t, filepath.Join(folder(cfg), "a.mf4"), "hello, this is not a measurement")
	err := failure(t, cfg)
	wantText(t, err, `a.mf4: not an MDF file: it starts with "hello, t"`, "[E-mf4]")
	if !pipeline.IsPermanent(err) {
		t.Error("the error is not permanent")
	}
	items, open := build(t, cfg)
	must(t, os.Remove(items[0].URL))
	if _, err = open(t.Context(), items[0]); !pipeline.IsPermanent(err) {
		t.Errorf("the error of a file that is away, %v, is not permanent: no retry brings it back", err)
	}
	wantText(t, err, "a.mf4: no such file or directory [E-file]", "next: check the path")
	must(t, os.Symlink("a.mf4", items[0].URL)) // to itself
	if _, err = open(t.Context(), items[0]); !pipeline.IsPermanent(err) {
		t.Errorf("%v is not permanent", err)
	}
	if err := openError("a.mf4", &fs.PathError{Op: "open", Path: "a.mf4", Err: fs.ErrPermission}); !pipeline.IsPermanent(err) {
		t.Errorf("%v is not permanent", err)
	}
	if err := openError("a.mf4", &fs.PathError{Op: "read", Path: "a.mf4", Err: syscall.EIO}); pipeline.IsPermanent(err) {
		t.Errorf("%v is permanent, and a network may come back", err)
	}
}

// spoilLast overwrites the last occurrence of some bytes of a recording.
func spoilLast(t *testing.T, cfg Config, mark string) {
	t.Helper()
	file := filepath.Join(folder(cfg), "a.mf4")
	data, err := os.ReadFile(file)
	must(t, err)
	at := bytes.LastIndex(data, []byte(mark))
	if at < 0 {
		t.Fatalf("no %q in the recording", mark)
	}
	copy(data[at:], bytes.Repeat([]byte{'?'}, len(mark)))
	must(t, os.WriteFile(file, data, 0o644))
}

// truncate cuts a recording in the middle of its data.
func truncate(t *testing.T, cfg Config, share float64) {
	t.Helper()
	file := filepath.Join(folder(cfg), "a.mf4")
	st, err := os.Stat(file)
	must(t, err)
	must(t, os.Truncate(file, int64(float64(st.Size())*share)))
}

func TestADamagedRecordingSaysWhereAndHowMuchWasRead(t *testing.T) {
	cfg := damaged(t)
	err := failure(t, cfg)
	wantText(t, err, "a.mf4: corrupt MF4 at offset 0x", "[E-mf4]", "\n  read 0-", " records, from group VehicleDynamics",
		"next: `on_corrupt: keep` in reader/mf4")
	if !pipeline.IsPermanent(err) {
		t.Error("the error is not permanent")
	}
}

// damaged is a recording with a data block in the middle of which bytes are wrong.
func damaged(t *testing.T) Config {
	t.Helper()
	wave := func(t float64) float64 { return float64(int(t*7919) % 1000) }
	cfg := setup(t, "", group{"VehicleDynamics", []mdf.ChannelSpec{signal("V", "km/h")}, ramp(100, 60, wave), nil},
		group{"Other", []mdf.ChannelSpec{signal("W", "")}, ramp(10, 60, wave), nil})
	cfg.Signals = signals(`{v: {channel: V}, w: {channel: W}}`)
	file := filepath.Join(folder(cfg), "a.mf4")
	data, err := os.ReadFile(file)
	must(t, err)
	for i := len(data) / 2; i < len(data)/2+40; i++ {
		data[i] ^= 0x5a
	}
	must(t, os.WriteFile(file, data, 0o644))
	return cfg
}

func TestKeepUsesWhatIsReadableAndReportsTheCut(t *testing.T) {
	cfg := damaged(t)
	cfg.OnCorrupt = CorruptKeep
	got := tables(readOnly(t, cfg))
	v, w, cut := got["VehicleDynamics"], got["Other"], got[schemas.TableFaults("VehicleDynamics")]
	if len(v) < 5000 || len(v) >= 6000 || len(w) != 600 {
		t.Fatalf("%d of 6000 rows of the damaged group and %d of 600 of the other", len(v), len(w))
	}
	hole := 0
	for v[hole+1][0]-v[hole][0] < 11e6 {
		hole++
	}
	wantRows(t, cut, [][]float64{{v[hole][0], 0, 0, 0, 1, float64(6000 - len(v)), v[hole+1][0] / 1e9, 0}})
}

func TestKeepUsesTheGroupsInFrontOfDamagedHeaders(t *testing.T) {
	cfg := setup(t, "")
	record(t, filepath.Join(folder(cfg), "a.mf4"), group{"a", []spec{signal("V", "")}, ramp(100, 20, constant(1)), nil},
		group{"b", []spec{signal("W", "")}, ramp(100, 20, func(t float64) float64 { return t * t * t }), nil})
	cfg.Signals = signals(`{v: {channel: V}, w: {channel: W}}`)
	spoilLast(t, cfg, "##CG")
	wantText(t, failure(t, cfg), "a.mf4: corrupt MF4 at offset", "nothing of it was read: its headers are wrong")
	cfg.OnCorrupt = CorruptKeep
	got := tables(readOnly(t, cfg))
	if len(got["a"]) != 2000 || len(got) != 2 {
		t.Errorf("%d rows of the group in front of the damage, tables %v", len(got["a"]), len(got))
	}
	wantRows(t, got[schemas.TableFaults("a")], [][]float64{{19.99e9, 0, 0, 0, 1, 0, math.NaN(), 0}})
}

func TestATruncatedRecordingFails(t *testing.T) {
	for _, share := range []float64{0.001, 0.1, 0.5, 0.9, 0.99} {
		cfg := drive(t, 20)
		truncate(t, cfg, share)
		err := failure(t, cfg)
		wantText(t, err, "a.mf4: corrupt MF4 at offset", "[E-mf4]")
		if !pipeline.IsPermanent(err) {
			t.Errorf("cut to %v: error is not permanent", share)
		}
	}
}

func TestARecordingThatWasReplacedIsNotGoneOnWith(t *testing.T) {
	cfg := setup(t, "", group{"a", []mdf.ChannelSpec{signal("V", "m/s")}, [][]float64{{0, 1}, {1, 2}}, nil})
	cfg.Signals = signals(`{v: {channel: V}}`)
	items, open := build(t, cfg)
	file := items[0].URL
	old, err := os.ReadFile(file)
	must(t, err)
	for what, b := range map[string][]byte{"longer": append(slices.Clone(old), 0), "of the same size": append(slices.Clone(old[:len(old)-1]), old[len(old)-1]^1)} {
		must(t, os.WriteFile(file, b, 0o600))
		_, err := open(t.Context(), items[0])
		if !pipeline.IsPermanent(err) {
			t.Errorf("%s: error %v, want a permanent one", what, err)
			continue
		}
		wantText(t, err, "a.mf4: the recording has changed since it was listed [E-changed]", "next: `milepost run`")
	}
	must(t, os.WriteFile(file, old, 0o600))
	r, err := open(t.Context(), items[0])
	must(t, err)
	must(t, r.Close())
}

func TestTimesThatAreNotARecordingsAreNamed(t *testing.T) {
	cfg := setup(t, "", group{"VehicleDynamics", []mdf.ChannelSpec{signal("L", "")}, [][]float64{{1.7e9, 1}, {1.7e9 + 1, 2}}, nil})
	cfg.Signals = signals(`{l: {channel: L}}`)
	err := failure(t, cfg)
	wantText(t, err, `a.mf4: the first time in channel "`, `of group VehicleDynamics is 1700000000.000 s, and times count from the recording's start [E-time]`,
		"\n  it looks like Unix time, 2023-11-14T22:13:20Z; the file says it was started ", "\n  next: ")
	if !pipeline.IsPermanent(err) {
		t.Error("the error is not permanent")
	}
}

func TestSamplesWithoutAUsableTimeAreFaults(t *testing.T) {
	cfg := setup(t, "", group{"g", []mdf.ChannelSpec{signal("L", "")}, [][]float64{{0, 1}, {1, 2}, {math.NaN(), 3}, {math.Inf(1), 4}, {1e12, 5}, {2, 6}}, nil})
	cfg.Signals = signals(`{ego_speed: {channel: L}}`)
	got := tables(readOnly(t, cfg))
	wantRows(t, got[schemas.TableEgo], [][]float64{{0, 1}, {1e9, 2}, {2e9, 6}})
	lost := []float64{1e9, math.NaN(), 1, 1, 0, 0, 0, 0}
	wantRows(t, got[schemas.TableFaults(schemas.TableEgo)], [][]float64{lost, lost, lost})
}
