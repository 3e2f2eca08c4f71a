package cmd_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// A conversion that cannot be applied is told beside its channel, and the rest of the recording goes on.
func TestInspectTellsWhyAChannelCannotBeConverted(t *testing.T) {
	l := setup(t)
	path := l.path("rule.mf4")
	w, err := mdf.Create(path, mdf.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := w.AddGroup(mdf.GroupSpec{AcqName: "g", Channels: []mdf.ChannelSpec{
		{Name: "broken", DataType: mdf.UintLE, Bits: 8, Conversion: mdf.LinearConversion(10, 2)}, {Name: "sound", DataType: mdf.UintLE, Bits: 8},
		{Name: "spelled", DataType: mdf.UTF8, Bits: 24, Conversion: &mdf.Conversion{Type: mdf.TextToValue, Values: []float64{11, 12}, Refs: []mdf.ConversionRef{{Text: "one"}, {Text: "two"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	numbers := mdf.Samples{Uint: []uint64{3, 4}}
	if err := errors.Join(g.Append([]float64{0, 1}, numbers, numbers, mdf.Samples{Data: []byte("twoone")}), w.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[bytes.LastIndex(b, []byte("##CC"))+24+8*4+6] = 1 // that of the first channel, which is written last, says one value
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	l.wants(l.with(t.Context(), 0, "inspect", path, "--channels", "*"), `block "##CC" of type 1 has 1 values`, "sound", "2 texts to values")
	l.with(t.Context(), 0, "export", path, "-o", l.path("rule.csv"))
	csv, err := os.ReadFile(l.path("rule.csv"))
	if want := "time [s],sound,spelled\n0,3,12\n1,4,11\n"; err != nil || strings.ReplaceAll(string(csv), "\r", "") != want {
		t.Errorf("%q, %v; want %q", csv, err, want)
	}
}
