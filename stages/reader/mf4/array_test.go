package mf4

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// makePairs turns a channel of 64 bits into an array of two of 32.
func makePairs(t *testing.T, file, name string) {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	le := binary.LittleEndian
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	for off := bytes.Index(b, []byte("##CN")); ; off += 8 {
		if string(b[off:off+4]) == "##CN" && bytes.HasPrefix(b[le.Uint64(b[off+24+2*8:])+24:], []byte(name+"\x00")) {
			le.PutUint64(b[off+24+8:], uint64(len(b)))
			le.PutUint32(b[off+24+8*8+8:], 32)
			break
		}
	}
	b = append(b, "##CA\x00\x00\x00\x00"...)
	b = le.AppendUint64(le.AppendUint64(b, 56), 1)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0)
	b = le.AppendUint64(le.AppendUint64(b, 4), 2)
	must(t, os.WriteFile(file, b, 0o644))
}

func TestElementsOfArraysAreSignals(t *testing.T) {
	pair := func(a, b float32) float64 {
		return math.Float64frombits(uint64(math.Float32bits(a)) | uint64(math.Float32bits(b))<<32)
	}
	cfg := setup(t, "", group{"g", []mdf.ChannelSpec{signal("W", "")}, [][]float64{{0.5, pair(1, 2)}, {1, pair(3, 4)}}, nil})
	makePairs(t, filepath.Join(folder(cfg), "a.mf4"), "W")
	cfg.Signals = signals(`{second: {channel: ["W[2]", "W[1]"]}, first: {channel: "W[0]"}}`)
	for _, rows := range tables(readOnly(t, cfg)) {
		wantRows(t, rows, [][]float64{{5e8, 1, 2}, {1e9, 3, 4}})
	}
	cfg.Signals = signals(`{w: {channel: W}}`)
	wantText(t, failure(t, cfg), `is an array of [2]: name one element, such as W[0]`)
}
