//go:build asammdf

package mdf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The script prints, of two files, the names, units, physical values and times of all channels of numbers and texts, in the order of
// groups and channels, and what is attached.
const compareScript = `
import hashlib, json, sys
import numpy
from asammdf import MDF

def describe(path):
    file, out = MDF(path), []
    for index, group in enumerate(file.groups):
        if not group.channel_group.cycles_nr:
            continue
        for k, channel in enumerate(group.channels):
            signal = file.get(group=index, index=k, ignore_invalidation_bits=True)
            values = signal.samples
            if values.dtype.names or values.ndim > 1:
                continue
            if values.dtype.kind == "S":
                values = numpy.array([v.rstrip(b"\0") for v in values.tolist()], dtype=object).astype("S")
            elif values.dtype.kind in "iuf":
                values = values.astype("f8")
            out.append([channel.name, signal.unit, len(values), hashlib.sha256(repr(values.tolist()).encode()).hexdigest(),
                        hashlib.sha256(signal.timestamps.astype("f8").tobytes()).hexdigest()])
    attached = []
    for i, a in enumerate(file.attachments):
        data, name, digest = file.extract_attachment(index=i)
        attached.append([str(name), hashlib.sha256(data.encode() if isinstance(data, str) else bytes(data)).hexdigest()])
    return {"channels": out, "attached": attached}

json.dump([describe(p) for p in sys.argv[2:]], open(sys.argv[1], "w"))
`

type described struct {
	Channels, Attached [][]any
}

func describe(t *testing.T, paths ...string) (out []described) {
	t.Helper()
	python := os.Getenv("ASAMMDF_PYTHON")
	if python == "" {
		t.Fatal("set ASAMMDF_PYTHON to a Python that has asammdf 8; make asammdf installs one")
	}
	result := filepath.Join(t.TempDir(), "out.json")
	cmd := exec.Command(python, append([]string{"-c", compareScript, result}, paths...)...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	text, err := os.ReadFile(result)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func mf4Folder(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("MF4")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "mf4")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("the folder of recordings is missing, set MF4: %v", err)
	}
	return dir
}

// TestASAMMDFReadsExcerptsLikeTheirFiles copies recordings of other programs and lets asammdf compare. Those that it reads wrong
// itself, or whose values our copy stores in another type on purpose, are left out.
func TestASAMMDFReadsExcerptsLikeTheirFiles(t *testing.T) {
	for _, name := range []string{"css-0d1e630b-00000005-60FEB5A8.mf4", "css-5b466906-00000005-60FEB5A8.MF4", "css-ee20ea1c-00000001-60FE3F04.MF4",
		"gomdf-4c5b12ec-sample1.mf4", "gomdf-a4c174ac-sample5.mf4", "gomdf-ad018750-sample2.mf4", "peak-f020d149-simple.mf4"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(mf4Folder(t), "foreign", name)
			f, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			out := filepath.Join(t.TempDir(), "copy.mf4")
			w, err := Create(out, WriterOptions{Start: f.Start, LocalTime: f.LocalTime, Compression: TransposedDeflate})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Excerpt(context.Background(), w, ExcerptOptions{}), w.Close()); err != nil {
				t.Fatal(err)
			}
			compareDescribed(t, describe(t, path, out))
		})
	}
}

// TestASAMMDFReadsFinalizedCopies lets asammdf, which repairs for itself, compare logger files with our repaired copies.
func TestASAMMDFReadsFinalizedCopies(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(mf4Folder(t), "foreign", "*.[mM][fF]4"))
	n := 0
	for _, path := range files {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if f.Finalized {
			continue
		}
		n++
		t.Run(filepath.Base(path), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "copy.mf4")
			if err := f.Finalize(context.Background(), out, time.Unix(1800000000, 0), nil); err != nil {
				t.Fatal(err)
			}
			compareDescribed(t, describe(t, path, out))
		})
	}
	if n == 0 {
		t.Fatal("no unfinalized file")
	}
}

func compareDescribed(t *testing.T, d []described) {
	t.Helper()
	a, b := d[0].Channels, d[1].Channels
	if len(a) == 0 || len(a) != len(b) {
		t.Fatalf("%d channels became %d", len(a), len(b))
	}
	for i := range a {
		for k := range a[i] {
			const unit = 1 // asammdf does not give that of the conversion, which the copy has at the channel too
			if a[i][k] != b[i][k] && (k != unit || a[i][k] != "") {
				t.Errorf("channel %v became %v", a[i], b[i])
				break
			}
		}
	}
}

// TestASAMMDFReadsAttachmentsAndTables compares attachments and texts of conversions.
func TestASAMMDFReadsAttachmentsAndTables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mf4")
	w, err := Create(path, WriterOptions{Compression: Deflate})
	if err != nil {
		t.Fatal(err)
	}
	table := &Conversion{Type: ValueToText, Values: []float64{0, 1}, Refs: []ConversionRef{{Text: "off"}, {Text: "on"}, {Text: "?"}}}
	formula := &Conversion{Type: Algebraic, Formula: "X * 2 + 1"}
	g, err := w.AddGroup(GroupSpec{Channels: []ChannelSpec{{Name: "state", DataType: UintLE, Bits: 8, Conversion: table},
		{Name: "twice", DataType: UintLE, Bits: 8, Conversion: formula, Unit: "m"}}})
	if err != nil {
		t.Fatal(err)
	}
	raw := Samples{Uint: []uint64{0, 1, 7}}
	if err := errors.Join(g.Append([]float64{0, 1, 2}, raw, raw), w.Attach(AttachmentSpec{Name: "a.txt", MIMEType: "text/plain"},
		[]byte("attached")), w.Close()); err != nil {
		t.Fatal(err)
	}
	d := describe(t, path)[0]
	const ofTexts, ofNumbers = "[b'off', b'on', b'?']", "[1.0, 3.0, 15.0]"
	if len(d.Channels) != 3 || d.Channels[1][3] != hexSHA256(ofTexts) || d.Channels[2][3] != hexSHA256(ofNumbers) {
		t.Errorf("%v", d.Channels)
	}
	if len(d.Attached) != 1 || d.Attached[0][1] != hexSHA256("attached") {
		t.Errorf("%v", d.Attached)
	}
}

func hexSHA256(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
