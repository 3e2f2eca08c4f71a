package aeb

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

// TickTable is the name of the table in an aeb.tick.v1 batch. Its columns are those of columnsOf; booleans are 0 or 1, slot
// is -1 without a target, and numbers are NaN where Tick says so.
const TickTable = "tick"

// ticks are rows of the table under construction.
type ticks struct {
	t                                                   []int64
	ok, stage, slot, driver, hard, closing              []int64
	v, ae, kappa, x, y, c, vo, ao, ttc, ettc, areq, rss []float64
	thw                                                 []float64
}

func (r *ticks) add(t Tick) {
	r.t = append(r.t, t.T)
	r.ok = append(r.ok, bit(t.OK))
	r.stage = append(r.stage, int64(t.Stage))
	r.slot = append(r.slot, int64(t.Slot))
	r.driver = append(r.driver, bit(t.Driver))
	r.hard = append(r.hard, bit(t.Hard))
	r.closing = append(r.closing, bit(t.Closing))
	r.v = append(r.v, t.V)
	r.ae = append(r.ae, t.AE)
	r.kappa = append(r.kappa, t.Kappa)
	r.x = append(r.x, t.X)
	r.y = append(r.y, t.Y)
	r.c = append(r.c, t.C)
	r.vo = append(r.vo, t.VO)
	r.ao = append(r.ao, t.AO)
	r.ttc = append(r.ttc, t.TTC)
	r.ettc = append(r.ettc, t.ETTC)
	r.areq = append(r.areq, t.AReq)
	r.rss = append(r.rss, t.RSS)
	r.thw = append(r.thw, t.THW)
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// table gives the rows away.
func (r *ticks) table() (pipeline.Table, error) {
	return schemas.NewTable(TickTable, r.t,
		schemas.Column{Name: "ok", Int64: r.ok},
		schemas.Column{Name: "stage", Int64: r.stage},
		schemas.Column{Name: "slot", Int64: r.slot},
		schemas.Column{Name: "driver", Int64: r.driver},
		schemas.Column{Name: "hard", Int64: r.hard},
		schemas.Column{Name: "closing", Int64: r.closing},
		schemas.Column{Name: "v", Unit: "m/s", Float64: r.v},
		schemas.Column{Name: "a_e", Unit: "m/s²", Float64: r.ae},
		schemas.Column{Name: "kappa", Unit: "1/m", Float64: r.kappa},
		schemas.Column{Name: "x", Unit: "m", Float64: r.x},
		schemas.Column{Name: "y", Unit: "m", Float64: r.y},
		schemas.Column{Name: "c", Unit: "m/s", Float64: r.c},
		schemas.Column{Name: "v_o", Unit: "m/s", Float64: r.vo},
		schemas.Column{Name: "a_o", Unit: "m/s²", Float64: r.ao},
		schemas.Column{Name: "ttc", Unit: "s", Float64: r.ttc},
		schemas.Column{Name: "ettc", Unit: "s", Float64: r.ettc},
		schemas.Column{Name: "areq", Unit: "m/s²", Float64: r.areq},
		schemas.Column{Name: "rss", Unit: "m", Float64: r.rss},
		schemas.Column{Name: "thw", Unit: "s", Float64: r.thw},
	)
}

// samplesOf finds the input streams in a batch of signals by the names of schemas; other tables are not the function's.
func samplesOf(b *pipeline.Batch) (Samples, error) {
	var in Samples
	for _, t := range b.Tables {
		var err error
		switch t.Name {
		case schemas.TableEgo:
			in.Ego, err = seriesOf(t, schemas.ColSpeed)
		case schemas.TableYaw:
			in.Yaw, err = seriesOf(t, schemas.ColYawRate)
		case schemas.TableBrake:
			in.Brake, err = seriesOf(t, schemas.ColBrakeOn)
		default:
			if slot, ok := slotNumber(t.Name); ok {
				in.Tracks, err = appendTrack(in.Tracks, t, slot)
			}
		}
		if err != nil {
			return in, err
		}
	}
	return in, nil
}

func seriesOf(t pipeline.Table, column string) (Series, error) {
	v, err := required(t, column)
	return Series{T: t.Times(), V: v}, err
}

func appendTrack(tracks []Track, t pipeline.Table, slot int) ([]Track, error) {
	x, err := required(t, schemas.ColLongDist)
	if err != nil {
		return tracks, err
	}
	r, err := required(t, schemas.ColRelSpeed)
	return append(tracks, Track{Slot: slot, T: t.Times(), X: x, R: r, Y: t.Float64(schemas.ColLatDist),
		Valid: t.Float64(schemas.ColValid), New: t.Float64(schemas.ColNew)}), err
}

func required(t pipeline.Table, column string) ([]float64, error) {
	v := t.Float64(column)
	if v == nil && t.Rows() > 0 || len(t.Times()) != t.Rows() {
		return nil, missing(t, column)
	}
	return v, nil
}

// slotNumber reads the number of a track table's name, as schemas.TableTrack writes it.
func slotNumber(name string) (int, bool) {
	prefix := strings.TrimRight(schemas.TableTrack(0), "0")
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0 && schemas.TableTrack(n) == name
}

// number is nil where JSON has no such number.
func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// emitDoc emits one activation over its own slice.
func emitDoc(ctx context.Context, out pipeline.Emitter, slice schemas.Slice, a Activation) error {
	data, err := json.Marshal(a)
	if err != nil {
		return pipeline.Permanent(err)
	}
	return out.Emit(ctx, pipeline.Batch{Type: schemas.AEBActivation, Slice: slice, Docs: []pipeline.Doc{data}})
}
