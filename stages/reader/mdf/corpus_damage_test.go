//go:build corpus

package mdf

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// damage changes a copy of a file as transfers and dying disks do: bits, runs of zeros, numbers of links, a cut end.
func damage(r *rand.Rand, data []byte) []byte {
	out := append([]byte(nil), data...)
	for range 1 + r.IntN(6) {
		at := r.IntN(len(out))
		if r.IntN(2) == 0 {
			at = r.IntN(min(len(out), 4096))
		}
		switch r.IntN(5) {
		case 0:
			out[at] ^= 1 << r.IntN(8)
		case 1:
			clear(out[at:min(at+r.IntN(600), len(out))])
		case 2:
			for i := at &^ 7; i < min(at&^7+8, len(out)); i++ {
				out[i] = byte(r.Uint32())
			}
		case 3:
			out = out[:max(at, 100)]
		case 4:
			copy(out[at:], out[r.IntN(at+1):][:min(16, len(out)-at)])
		}
	}
	return out
}

func TestDamagedCorpusFilesEndInTimeAndMemory(t *testing.T) {
	dir := os.Getenv("MF4")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "mf4")
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*.[mM][fF]4"))
	if len(files) < 30 {
		t.Fatalf("%d files in %s, set MF4", len(files), dir)
	}
	var before runtime.MemStats // tests that ran before have taken some
	runtime.ReadMemStats(&before)
	r := rand.New(rand.NewPCG(2026, 11))
	worst := before.HeapSys
	for i := range 2000 {
		data, err := os.ReadFile(files[i%len(files)])
		if err != nil {
			t.Fatal(err)
		}
		exhaust(t, damage(r, data))
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		worst = max(worst, m.HeapSys)
	}
	if worst -= before.HeapSys; worst > 256<<20 {
		t.Errorf("%d MB of heap", worst>>20)
	}
}
