package main

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

func TestDriveHasItsLengthAndIsTheSameAgain(t *testing.T) {
	var sums [2][32]byte
	for k := range sums {
		dir := t.TempDir()
		if err := writeDrive(dir, 90*time.Second); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, "drive.mf4"))
		if err != nil {
			t.Fatal(err)
		}
		sums[k] = sha256.Sum256(data)
		check(t, filepath.Join(dir, "drive.mf4"))
	}
	if sums[0] != sums[1] {
		t.Error("two drives of one length differ")
	}
}

func check(t *testing.T, file string) {
	t.Helper()
	f, err := mdf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	channels, records := 0, uint64(0)
	for _, g := range f.Groups {
		channels += len(g.Channels) - 1 // without the time
		records += g.Cycles
	}
	if channels != 18 || records != 90*(50+50+25+20+20) {
		t.Errorf("%d channels, %d records", channels, records)
	}
}

func TestReport(t *testing.T) {
	m := &measurement{name: "two", road: 100 * time.Second, bytes: 5e6, peakRSS: 200e6, totals: totals{TookMS: 2000, Mallocs: 5000, Nodes: []engine.NodeStatus{
		{Role: pipeline.RoleReader, Out: 20, OutBytes: 4e6, StepTotal: 3 * time.Second, EncodeTotal: time.Second, AppendTotal: 4 * time.Second},
		{Role: pipeline.RoleProcess, Out: 30, OutBytes: 2e6, StepTotal: 2 * time.Second, DecodeTotal: time.Second},
		{Role: pipeline.RoleSink, StepTotal: time.Second - time.Second/2, DecodeTotal: time.Second / 2},
	}}}
	var b bytes.Buffer
	if err := report(&b, "a machine", m); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Measured on a machine.", "| | two |", "| road | 100 s in 2.0 s |", "| road seconds a second | 50 |", "| recordings read | 2.5 MB/s |",
		"| events stored | 25/s, 3.0 MB/s |", "| allocations an event | 100 |", "| peak RSS | 200 MB |", "| share of decoding MDF | 18.2 % |",
		"| share of decoding events | 13.6 % |", "| share of encoding events | 9.1 % |", "| share of appending | 36.4 % |",
		"| share of processing | 18.2 % |", "| share of sinks | 4.5 % |",
	} {
		if !strings.Contains(b.String(), want+"\n") {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

func TestPeakRSSOfThisProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		if n := peakRSS(os.Getpid()); n != 0 {
			t.Errorf("%d bytes without /proc", n)
		}
		return
	}
	if n := peakRSS(os.Getpid()); n < 1<<20 {
		t.Errorf("%d bytes", n)
	}
}
