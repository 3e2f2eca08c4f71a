package cmd_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// record writes a recording of 100 records of two channels, 10 a second from a time on, and what is attached to it.
func record(t *testing.T, path string, first float64, attached ...mdf.AttachmentSpec) {
	t.Helper()
	w, err := mdf.Create(path, mdf.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, at := range attached {
		if err := w.Attach(at, []byte(strings.Repeat(at.Name, 50))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"one", "two"} {
		g, err := w.AddGroup(mdf.GroupSpec{AcqName: name, Channels: []mdf.ChannelSpec{{Name: name, DataType: mdf.UintLE, Bits: 32}}})
		if err != nil {
			t.Fatal(err)
		}
		times, x := make([]float64, 100), make([]uint64, 100)
		for i := range times {
			times[i], x[i] = first+float64(i)/10, uint64(i)
		}
		if err := g.Append(times, mdf.Samples{Uint: x}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// records counts the records of the groups of a file.
func records(t *testing.T, path string) (n []int) {
	t.Helper()
	f, err := mdf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, g := range f.Groups {
		n = append(n, int(g.Cycles))
		if err := readThrough(t, g); err != nil {
			t.Error(err)
		}
	}
	return n
}

func readThrough(t *testing.T, g *mdf.ChannelGroup) error {
	t.Helper()
	r, err := g.Read(mdf.ReadOptions{}, g.Channels...)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		if _, err := r.Next(t.Context()); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// A pre-trigger's records have negative times: they are exported unless a bound that was given leaves them out.
func TestExportOfRecordsBeforeTheStart(t *testing.T) {
	l := setup(t)
	in := l.path("neg.mf4")
	record(t, in, -5)
	for args, want := range map[string]int{"": 100, "--to 3s": 80, "--from -3s": 80, "--from -3s --to -1s": 20, "--to 0s": 50, "--from 0s": 50,
		"--from -1s --to 0s": 10} {
		a := append([]string{"export", in, "--group", "one"}, strings.Fields(args)...)
		l.with(t.Context(), 0, append(a, "-o", l.path("e.mf4"))...)
		if got := records(t, l.path("e.mf4")); len(got) != 1 || got[0] != want {
			t.Errorf("%q: %v records as .mf4, want %d", args, got, want)
		}
		l.with(t.Context(), 0, append(a, "-o", l.path("e.csv"))...)
		if got := strings.Count(l.read("e.csv"), "\n") - 1; got != want {
			t.Errorf("%q: %d records as .csv, want %d", args, got, want)
		}
	}
}

// spoil changes a file.
func spoil(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(data), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A finalized recording that a broken copy or a full disk has cut: what is in front of the cut can be got out, and what is lost is said.
func TestExportGetsOutWhatIsReadable(t *testing.T) {
	l := setup(t)
	in := l.path("cut.mf4")
	record(t, in, 0)
	spoil(t, in, func(b []byte) []byte {
		return b[:bytes.LastIndex(b, []byte("##DT"))+30*12+5]
	})
	for _, out := range []string{"x.mf4", "x.csv"} {
		l.with(t.Context(), 1, "export", in, "-o", l.path(out), "--group", "two")
		l.wants(l.stderr.String(), "[E-mf4]", "--on-corrupt keep")
		l.absent(out)
	}
	l.with(t.Context(), 1, "finalize", in, "-o", l.path("x.mf4"))
	l.wants(l.stderr.String(), "--on-corrupt keep")
	l.with(t.Context(), 0, "export", in, "-o", l.path("x.mf4"), "--on-corrupt", "keep")
	got := records(t, l.path("x.mf4"))
	if len(got) != 2 || got[0] != 100 || got[1] == 0 || got[1] >= 100 {
		t.Fatalf("%v records", got)
	}
	lost := fmt.Sprintf("two (group 1) records %d to 99, from %.3f s to the end", got[1], float64(got[1]-1)/10)
	l.wants(l.stderr.String(), "warning: "+in+": lost: "+lost, "[W-mf4]")
	l.with(t.Context(), 0, "export", in, "-o", l.path("x.csv"), "--on-corrupt", "keep", "--group", "two")
	l.wants(l.stderr.String(), lost)
	if n := strings.Count(l.read("x.csv"), "\n") - 1; n != got[1] {
		t.Errorf("%d rows, want %d", n, got[1])
	}
	for _, out := range []string{"x.mf4", "x.csv"} { // what is lost is not asked for
		l.with(t.Context(), 0, "export", in, "-o", l.path(out), "--on-corrupt", "keep", "--group", "two", "--to", "1s")
		if text := l.stderr.String(); strings.Contains(text, "lost") {
			t.Error(text)
		}
	}
	l.with(t.Context(), 2, "export", in, "-o", l.path("x.mf4"), "--on-corrupt", "skip")
	l.with(t.Context(), 2, "export", in, "-o", l.path("x.mf4"), "--on-corrupt", "keep", "--pipeline", "aeb")
}

// The signals have no use for an attachment, so one that is damaged does not keep them back.
func TestExportGoesOnWithoutADamagedAttachment(t *testing.T) {
	l := setup(t)
	in := l.path("attached.mf4")
	record(t, in, 0, mdf.AttachmentSpec{Name: "good.txt"}, mdf.AttachmentSpec{Name: "bad.txt"}, mdf.AttachmentSpec{Name: "fine.txt"})
	spoil(t, in, func(b []byte) []byte {
		b[bytes.Index(b, []byte("bad.txtbad.txt"))+20] ^= 1
		return b
	})
	l.with(t.Context(), 0, "export", in, "-o", l.path("x.mf4"))
	l.wants(l.stderr.String(), `left out: attachment "bad.txt"`, "MD5", "[W-mf4]")
	f, err := mdf.Open(l.path("x.mf4"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := f.Attachments()
	if err != nil || len(all) != 2 || all[0].Name != "good.txt" || all[1].Name != "fine.txt" {
		t.Errorf("%+v, %v", all, err)
	}
	if got := records(t, l.path("x.mf4")); len(got) != 2 || got[0] != 100 || got[1] != 100 {
		t.Errorf("%v records", got)
	}
}

// A channel that cannot be read is not left out in silence.
func TestExportTellsOfChannelsThatItLeavesOut(t *testing.T) {
	l := setup(t)
	in := l.path("bad.mf4")
	record(t, in, 0)
	spoil(t, in, func(b []byte) []byte { // one more bit than its record has
		at := bytes.LastIndex(b[:bytes.LastIndex(b, []byte("##CN"))], []byte("##CN")) // the last one is that of the times
		body := at + 24 + 8*int(binary.LittleEndian.Uint64(b[at+16:]))
		binary.LittleEndian.PutUint32(b[body+8:], 33)
		return b
	})
	for _, out := range []string{"x.mf4", "x.csv"} {
		l.with(t.Context(), 0, "export", in, "-o", l.path(out), "--group", "one")
		l.with(t.Context(), map[string]int{"x.mf4": 0, "x.csv": 1}[out], "export", in, "-o", l.path(out), "--group", "two") // no table of times alone
		l.wants(l.stderr.String(), "left out: channel two of group 1: ", "[W-mf4]")
	}
}
