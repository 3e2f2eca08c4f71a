package mf4

import (
	"path/filepath"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// The short form is sugar for a binding: the same file bound both ways gives the same track.
func TestShortFormBindsATrack(t *testing.T) {
	groups := []group{{"ego", []mdf.ChannelSpec{signal("VehSpd", "km/h")}, [][]float64{{0, 36}, {1, 72}}, nil},
		{"other", []mdf.ChannelSpec{signal("Radar_ObjDist", "m")}, nil, nil},
		{"radar", []mdf.ChannelSpec{signal("Radar_ObjDist", "cm"), signal("ObjRelSpd", "km/h"), signal("Lat", "m"), signal("Ok", ""), signal("Fresh", "")},
			[][]float64{{0, 5000, -36, 1, 1, 1}, {1, 4000, -18, -2, 0, 0}}, nil}}
	cfg := setup(t, "", groups...)
	cfg.Signals = signals(`{ego_speed: {channel: VehSpd, unit: m/s}, target_dist: {channel: [ObjDist, Radar_ObjDist], unit: m}, target_speed: {channel: ObjRelSpd, unit: m/s},
		target_lateral: {channel: Lat, factor: -1}, target_valid: {channel: Ok}, target_new: {channel: Fresh}, brake_request: {channel: AEB_BrkReq, optional: true}}`)
	got := tables(readOnly(t, cfg))
	wantRows(t, got[schemas.TableEgo], [][]float64{{0, 10}, {1e9, 20}})
	wantRows(t, got[schemas.TableTrack(0)], [][]float64{{0, 50, -1, -10, 1, 1}, {1e9, 40, 2, -5, 0, 0}})
	if items, _ := build(t, cfg); string(items[0].Params[ParamTracks]) != "1" {
		t.Errorf("params = %s", items[0].Params)
	}
	cfg.Signals = signals(`{ego_speed: {channel: VehSpd, unit: m/s}, target_dist: {channel: Radar_ObjDist, unit: km}, target_speed: {channel: ObjRelSpd}}`)
	wantRows(t, tables(readOnly(t, cfg))[schemas.TableTrack(0)], [][]float64{{0, 50, 0, -10, 1, 0}, {1e9, 40, 0, -5, 1, 0}})
}

func TestTracksOfABindingComeBeforeTheShortForm(t *testing.T) {
	cfg := setup(t, "bindings: {p: {kind: physical, ego_speed: {channel: V}, tracks: [{long_dist: X, rel_speed: R}]}}\nlogs: {\"*\": {binding: p}}",
		group{"a", []mdf.ChannelSpec{signal("V", ""), signal("X", ""), signal("R", "")}, [][]float64{{0, 1, 2, 3}}, nil})
	cfg.Signals = signals(`{target_dist: {channel: V}, target_speed: {channel: V}}`)
	wantRows(t, tables(readOnly(t, cfg))[schemas.TableTrack(0)], [][]float64{{0, 2, 0, 3, 1, 0}})
}

func TestWhatATrackOfTheShortFormLacksIsTold(t *testing.T) {
	cfg := setup(t, "", group{"a", []mdf.ChannelSpec{signal("X", "m"), signal("V", "m/s")}, [][]float64{{0, 1, 2}}, nil},
		group{"b", []mdf.ChannelSpec{signal("R", "m/s")}, [][]float64{{0, 1}}, nil})
	cfg.Signals = signals(`{target_dist: {channel: X}, target_speed: {channel: R}}`)
	wantText(t, failure(t, cfg), "a.mf4: target_dist and target_speed have no common time base (their channels lie in different groups) for signal target [E-channel]")
	cfg.Signals = signals(`{target_dist: {channel: Y}, target_speed: {channel: R}}`)
	wantText(t, failure(t, cfg), `a.mf4: no channel "Y" for signal target_dist [E-channel]`)
	cfg.Signals = signals(`{ego_speed: {channel: V}, target_dist: {channel: Y, optional: true}, target_speed: {channel: R}}`)
	if got := tables(readOnly(t, cfg)); got[schemas.TableTrack(0)] != nil || len(got[schemas.TableEgo]) != 1 {
		t.Errorf("tables = %v", got)
	}
	cfg.Signals = signals(`{target_dist: {channel: X}}`)
	wantText(t, cfg.Validate(), "signals.target_dist: binds no track without target_speed")
	cfg.Signals = signals(`{target_dist: {channels: [X, V]}, target_speed: {bus: 1, id: 2, dbc: a.dbc, signal: S}}`)
	wantText(t, cfg.Validate(), "signals.target_dist: is one value of a track", "signals.target_speed: lies elsewhere than target_dist")
}

func TestShortFormBindsATrackOfABus(t *testing.T) {
	track := []byte{0x10, 0x27, 0xF6, 0x9C, 0xFF, 1}
	cfg := canSetup(t, wheels(0.1, 1, 3600, 7200, 1), mdf.Frame{Time: 0.5, Bus: 2, ID: 528, Data: track})
	bound := tables(readOnly(t, cfg))[schemas.TableTrack(0)]
	dbcDir := filepath.Join(folder(cfg), "dbc")
	cfg.Bindings, cfg.DBCDir = "", pipeline.Strings{dbcDir}
	cfg.Signals = signals(`{target_dist: {bus: 2, id: 528, dbc: car.dbc, signal: LONG_DIST}, target_speed: {bus: 2, id: 528, dbc: car.dbc, signal: REL_SPEED},
		target_lateral: {bus: 2, id: 528, dbc: car.dbc, signal: LAT_DIST, factor: -1}}`)
	if len(bound) != 1 {
		t.Fatalf("rows = %v", bound)
	}
	wantRows(t, tables(readOnly(t, cfg))[schemas.TableTrack(0)], bound)
}
