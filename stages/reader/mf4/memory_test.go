//go:build linux && !race

// The race detector takes several times the memory; /proc is of Linux.

package mf4

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// replayEnv names the recording that a test process replays instead of running tests.
const replayEnv = "MF4_TEST_REPLAY"

func TestMain(m *testing.M) {
	if file := os.Getenv(replayEnv); file != "" {
		if err := replayAlone(file); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// replayAlone replays all channels of a recording and prints what the process took at most, in KiB.
func replayAlone(file string) error {
	ctx := context.Background()
	cfg, err := allChannels(file)
	if err != nil {
		return err
	}
	parts, err := Type.Assemble(ctx, &cfg)
	if err != nil {
		return err
	}
	r, err := parts.Reader(ctx, pipeline.Item{Name: filepath.Base(file), URL: file})
	if err != nil {
		return err
	}
	defer r.Close()
	rows := 0
	for {
		b, err := r.Read(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		rows += b.Rows()
	}
	status, err := os.ReadFile("/proc/self/status")
	fmt.Printf("rows: %d\n%s", rows, status)
	return err
}

// allChannels is the configuration that reads every channel of a recording.
func allChannels(file string) (Config, error) {
	f, err := mdf.Open(file)
	if err != nil {
		return Config{}, err
	}
	defer f.Close()
	cfg := Defaults
	cfg.Paths = pipeline.Strings{file}
	var text strings.Builder
	for _, g := range f.Groups {
		for _, c := range g.Channels {
			if c != g.Master {
				fmt.Fprintf(&text, "%s: {channel: %s}\n", c.Name, c.Name)
			}
		}
	}
	cfg.Signals = signals(text.String())
	return cfg, nil
}

const (
	manyGroups   = 30
	manyChannels = 7
	manyRows     = 80_000 // a block and a quarter
)

// recordMany writes groups with blocks of 4 MiB, as loggers write them: one of each inflated is 120 MiB.
func recordMany(t *testing.T, file string, compression mdf.Compression) {
	t.Helper()
	w, err := mdf.Create(file, mdf.WriterOptions{Start: began, Compression: compression, BlockBytes: 4 << 20})
	must(t, err)
	times, values := make([]float64, manyRows), make([]float64, manyRows)
	for i := range times {
		times[i], values[i] = float64(i)/1000, float64(i/100)
	}
	for g := range manyGroups {
		group := mdf.GroupSpec{AcqName: fmt.Sprint("g", g)}
		var cols []mdf.Samples
		for c := range manyChannels {
			group.Channels = append(group.Channels, mdf.ChannelSpec{Name: fmt.Sprintf("s%d_%d", g, c), DataType: mdf.FloatLE, Bits: 64})
			cols = append(cols, mdf.Samples{Float: values})
		}
		gw, err := w.AddGroup(group)
		must(t, err)
		must(t, gw.Append(times, cols...))
	}
	must(t, w.Close())
}

// TestManyGroupsWithLargeBlocksTakeLittleMemory replays in a process of its own, whose memory nothing else uses.
func TestManyGroupsWithLargeBlocksTakeLittleMemory(t *testing.T) {
	const limit = 100 << 10 // [KiB]
	for name, c := range map[string]mdf.Compression{"transposed": mdf.TransposedDeflate, "deflate": mdf.Deflate, "plain": mdf.Uncompressed} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "many.mf4")
			recordMany(t, file, c)
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), replayEnv+"="+file)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if rows := figure(t, out, "rows"); rows < manyRows*manyGroups {
				t.Errorf("%d rows", rows)
			}
			if peak := figure(t, out, "VmHWM"); peak > limit {
				t.Errorf("the process took %d MiB, %d are allowed", peak>>10, limit>>10)
			} else {
				t.Logf("the process took %d MiB", peak>>10)
			}
		})
	}
}

func figure(t *testing.T, out []byte, name string) int {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + `:\s*(\d+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("no %s in %s", name, bytes.TrimSpace(out))
	}
	n, err := strconv.Atoi(string(m[1]))
	must(t, err)
	return n
}

// TestMemoryStaysWhereItIs compares what is in use after the first part of a replay with what is in use later.
func TestMemoryStaysWhereItIs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "many.mf4")
	recordMany(t, file, mdf.TransposedDeflate)
	cfg, err := allChannels(file)
	must(t, err)
	items, open := build(t, cfg)
	r, err := open(t.Context(), items[0])
	must(t, err)
	defer r.Close()
	p := r.(pipeline.Progresser)
	var early, late uint64
	for i := 0; ; i++ {
		_, err := r.Read(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		switch {
		case i%20 != 0:
		case p.Progress() < 0.4:
			early = max(early, heapInUse())
		default:
			late = max(late, heapInUse())
		}
	}
	if early == 0 || late > early+early/4 {
		t.Errorf("%d KiB are in use late, %d were early", late>>10, early>>10)
	}
}

func heapInUse() uint64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
