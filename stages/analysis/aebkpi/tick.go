package aebkpi

import (
	"fmt"

	"github.com/milepost-dev/milepost/pipeline"
)

// noSlot stands in Tick.Slot without a target.
const noSlot = -1

// A Tick is one row of a batch of type aeb.tick.v1, as far as KPIs need it. Numbers are NaN where there is none, times to
// collision and headway +Inf.
type Tick struct {
	T       int64 // ns since the recording's start
	OK      bool
	Stage   int  // 0 to 3
	Slot    int  // of the target, -1 without
	Driver  bool // the driver brakes
	Hard    bool // hard braking
	Closing bool // a target that comes nearer

	V, AE, X, C, VO, AO, TTC, ETTC, AReq, RSS, THW float64 // as AEB.md, section 3; SI units
}

// Target says whether a target was selected.
func (t *Tick) Target() bool { return t.Slot != noSlot }

// tickTable is the name of the table that holds ticks.
const tickTable = "tick"

// eachTick calls do with the rows of a batch.
func eachTick(b *pipeline.Batch, do func(t *Tick)) error {
	table, ok := b.Table(tickTable)
	if !ok {
		return fmt.Errorf("batch of type %s has no table %s", b.Type, tickTable)
	}
	columns := columnsOf{table: table, rows: table.Rows(), t: table.Times()}
	stage, slot, ok64 := columns.int64("stage"), columns.int64("slot"), columns.int64("ok")
	driver, hard, closing := columns.int64("driver"), columns.int64("hard"), columns.int64("closing")
	v, ae, x, c := columns.float64("v"), columns.float64("a_e"), columns.float64("x"), columns.float64("c")
	vo, ao, ttc, ettc := columns.float64("v_o"), columns.float64("a_o"), columns.float64("ttc"), columns.float64("ettc")
	areq, rss, thw := columns.float64("areq"), columns.float64("rss"), columns.float64("thw")
	if columns.err != nil {
		return columns.err
	}
	for i, at := range columns.t {
		t := Tick{T: at, OK: ok64[i] != 0, Stage: int(stage[i]), Slot: int(slot[i]), Driver: driver[i] != 0, Hard: hard[i] != 0,
			Closing: closing[i] != 0, V: v[i], AE: ae[i], X: x[i], C: c[i], VO: vo[i], AO: ao[i], TTC: ttc[i], ETTC: ettc[i],
			AReq: areq[i], RSS: rss[i], THW: thw[i]}
		if t.Stage < 0 || t.Stage > 3 {
			return fmt.Errorf("stage %d at %d ns is not in 0 to 3", t.Stage, t.T)
		}
		do(&t)
	}
	return nil
}

// columnsOf finds columns and keeps the first that is missing.
type columnsOf struct {
	table pipeline.Table
	rows  int
	t     []int64
	err   error
}

func (c *columnsOf) int64(name string) []int64 {
	v := c.table.Int64(name)
	c.check(name, len(v))
	return v
}

func (c *columnsOf) float64(name string) []float64 {
	v := c.table.Float64(name)
	c.check(name, len(v))
	return v
}

func (c *columnsOf) check(name string, n int) {
	if n != c.rows && c.err == nil {
		c.err = fmt.Errorf("table %s has no column %s of %d rows", c.table.Name, name, c.rows)
	}
}
