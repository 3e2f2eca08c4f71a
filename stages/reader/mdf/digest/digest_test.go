package digest

import (
	"bytes"
	"errors"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

func TestSumIsRoundedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOf(rapid.Float64Range(-1e300, 1e300)).Draw(t, "values")
		var s exactSum
		want := new(big.Float).SetPrec(5000)
		for _, x := range v {
			s.add(x)
			want.Add(want, new(big.Float).SetFloat64(x))
		}
		w, _ := want.Float64()
		if got := s.round(); got != w {
			t.Fatalf("%v, want %v", got, w)
		}
	})
	var s exactSum
	for _, x := range []float64{1, 1e100, math.NaN(), 1, math.Inf(1), -1e100} {
		s.add(x)
	}
	if s.round() != 2.0 {
		t.Errorf("%v, want 2", s.round())
	}
}

// The SHA-256 of 0, 1, 2 as binary64 and of the texts "ab", "c", "" with their lengths come from sha256sum.
func TestLinesOfASmallFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mf4")
	w, err := mdf.Create(path, mdf.WriterOptions{Start: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	g, err := w.AddGroup(mdf.GroupSpec{AcqName: "g", Channels: []mdf.ChannelSpec{
		{Name: "x", Unit: "m", DataType: mdf.UintLE, Bits: 8, Conversion: mdf.LinearConversion(10, 2), Invalidation: true},
		{Name: "s", DataType: mdf.UTF8, Bits: 16}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.Append([]float64{0, 1, 2}, mdf.Samples{Uint: []uint64{0, 1, 2}, Valid: []bool{true, false, true}},
		mdf.Samples{Data: []byte("abc\x00\x00\x00")}), w.Close()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := File(t.Context(), &out, path, "a.mf4"); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines:\n%s", len(lines), out.String())
	}
	for i, parts := range [][]string{
		{`"type":"file"`, `"groups":1`, `"version":"4.10"`},
		{`"type":"cg"`, `"cycles":3`, `"channels":3`, `"master":"time"`, `"master_last":2`, `"master_sum":3`,
			`"master_sha256":"THREE"`},
		{`"name":"time"`, `"phys":"same"`, `"raw_sha256":"THREE"`},
		{`"name":"x"`, `"cc":1`, `"exact":true`, `"first":10`, `"last":14`, `"sum":36`, `"invalid":1`, `"raw_sha256":"THREE"`},
		{`"name":"s"`, `"kind":"text"`, `"raw_first":"ab"`, `"raw_last":""`, `"raw_sha256":"TEXTS"`},
	} {
		for _, p := range parts {
			p = strings.NewReplacer("THREE", three, "TEXTS", texts).Replace(p)
			if !strings.Contains(lines[i], p) {
				t.Errorf("line %d has no %s: %s", i, p, lines[i])
			}
		}
	}
}

// Of a channel whose conversion cannot be applied there are raw values, and why there are no others.
func TestLineOfAChannelThatCannotBeConverted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mf4")
	w, err := mdf.Create(path, mdf.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := w.AddGroup(mdf.GroupSpec{Channels: []mdf.ChannelSpec{
		{Name: "x", DataType: mdf.UintLE, Bits: 8, Conversion: mdf.LinearConversion(10, 2)}, {Name: "y", DataType: mdf.UintLE, Bits: 8}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.Append([]float64{0, 1, 2}, mdf.Samples{Uint: []uint64{0, 1, 2}}, mdf.Samples{Uint: []uint64{0, 1, 2}}), w.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[bytes.Index(b, []byte("##CC"))+24+8*4+6] = 1 // says one value
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := File(t.Context(), &out, path, "a.mf4"); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, parts := range [][]string{3: {`"name":"x"`, `"kind":"num"`, `"cc":1`, `"n":3`, `"raw_sha256":"` + three, `"error":`},
		4: {`"name":"y"`, `"phys":"same"`, `"raw_sha256":"` + three}} {
		for _, p := range parts {
			if !strings.Contains(lines[i], p) {
				t.Errorf("line %d has no %s: %s", i, p, lines[i])
			}
		}
	}
	if strings.Contains(lines[3], `"phys"`) {
		t.Errorf("physical values: %s", lines[3])
	}
}

const (
	three = "b0c45303f7f11848cb5e6e5b2af2fb2aecd0b72c28748b88b583ab6bb76df174"
	texts = "0787fafb201643e40ce6fea62e85698abeb15220d3cae9167b28d91f48f9ffc8"
)
