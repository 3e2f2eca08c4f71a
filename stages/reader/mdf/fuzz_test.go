package mdf

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

func FuzzOpen(f *testing.F) {
	for _, data := range seedFiles(f) {
		f.Add(data)
		f.Add(data[:len(data)-len(data)/5]) // cut off
	}
	f.Fuzz(func(t *testing.T, data []byte) { exhaust(t, data) })
}

// FuzzEdits changes a few places of the seed files: most random inputs of FuzzOpen do not get past the header.
func FuzzEdits(f *testing.F) {
	seeds := seedFiles(f)
	names := slices.Sorted(maps.Keys(seeds))
	for i := range names {
		f.Add(uint8(i), []byte{100, 0, 0, 7})
		f.Add(uint8(i), []byte{64, 1, 1, 255, 200, 2, 2, 8})
	}
	f.Fuzz(func(t *testing.T, seed uint8, edits []byte) {
		data := bytes.Clone(seeds[names[int(seed)%len(names)]])
		for ; len(edits) >= 4; edits = edits[4:] {
			at := (int(edits[0]) | int(edits[1])<<8) % len(data)
			switch v := edits[3]; edits[2] % 5 {
			case 0:
				data[at] = v
			case 1:
				data[at] ^= 1 << (v % 8)
			case 2: // a link or a length
				binary.LittleEndian.PutUint64(data[min(at&^7, len(data)-8):], uint64(v)*8)
			case 3:
				data = data[:max(at, 64)]
			case 4:
				binary.LittleEndian.PutUint64(data[min(at&^7, len(data)-8):], uint64(v)<<56|uint64(at))
			}
		}
		exhaust(t, data)
	})
}

// A blockSeed is a block in a seed file.
type blockSeed struct {
	data []byte
	at   int
}

// blockSeeds are the blocks of each kind in all seed files. Which of them is changed matters: a list of a file that is not finalized
// is read by other rules than one that is.
func blockSeeds(t testing.TB) map[string][]blockSeed {
	blocks := map[string][]blockSeed{}
	seeds := seedFiles(t)
	for _, name := range slices.Sorted(maps.Keys(seeds)) {
		data := seeds[name]
		for off := 64; off+headerSize <= len(data); off += 8 {
			if id := blockID(data[off:]); strings.HasPrefix(id, "##") {
				blocks[id] = append(blocks[id], blockSeed{data, off})
			}
		}
	}
	return blocks
}

// fuzzBlock gives a block of one kind any header, links and data; what stands around it is sound.
func fuzzBlock(f *testing.F, id string) {
	blocks := blockSeeds(f)[id]
	if len(blocks) == 0 {
		f.Fatalf("no seed file has a block %s", id)
	}
	for i, b := range blocks {
		if i > 0 && &b.data[0] == &blocks[i-1].data[0] {
			continue // one of each file
		}
		length := min(int(binary.LittleEndian.Uint64(b.data[b.at+8:])), len(b.data)-b.at)
		f.Add(uint16(i), bytes.Clone(b.data[b.at:b.at+length]))
		f.Add(uint16(i), []byte(id+"\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\x7f\xff\xff\xff\xff\x00\x00\x00\x00"))
		f.Add(uint16(i), []byte(id+"\x00\x00\x00\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	}
	f.Fuzz(func(t *testing.T, which uint16, block []byte) {
		b := blocks[int(which)%len(blocks)]
		damaged := bytes.Clone(b.data)
		copy(damaged[b.at+4:], block[min(4, len(block)):])
		exhaust(t, damaged)
	})
}

func FuzzBlockHD(f *testing.F) { fuzzBlock(f, "##HD") }
func FuzzBlockCH(f *testing.F) { fuzzBlock(f, "##CH") }
func FuzzBlockFH(f *testing.F) { fuzzBlock(f, "##FH") }
func FuzzBlockAT(f *testing.F) { fuzzBlock(f, "##AT") }
func FuzzBlockEV(f *testing.F) { fuzzBlock(f, "##EV") }
func FuzzBlockDG(f *testing.F) { fuzzBlock(f, "##DG") }
func FuzzBlockCG(f *testing.F) { fuzzBlock(f, "##CG") }
func FuzzBlockSI(f *testing.F) { fuzzBlock(f, "##SI") }
func FuzzBlockCN(f *testing.F) { fuzzBlock(f, "##CN") }
func FuzzBlockCC(f *testing.F) { fuzzBlock(f, "##CC") }
func FuzzBlockCA(f *testing.F) { fuzzBlock(f, "##CA") }
func FuzzBlockTX(f *testing.F) { fuzzBlock(f, "##TX") }
func FuzzBlockMD(f *testing.F) { fuzzBlock(f, "##MD") }
func FuzzBlockDT(f *testing.F) { fuzzBlock(f, "##DT") }
func FuzzBlockDV(f *testing.F) { fuzzBlock(f, "##DV") }
func FuzzBlockDI(f *testing.F) { fuzzBlock(f, "##DI") }
func FuzzBlockSD(f *testing.F) { fuzzBlock(f, "##SD") }
func FuzzBlockDL(f *testing.F) { fuzzBlock(f, "##DL") }
func FuzzBlockLD(f *testing.F) { fuzzBlock(f, "##LD") }
func FuzzBlockHL(f *testing.F) { fuzzBlock(f, "##HL") }
func FuzzBlockDZ(f *testing.F) { fuzzBlock(f, "##DZ") }

// TestEveryBlockHasAFuzzTarget fails when the seed files gain a kind of block that no target changes.
func TestEveryBlockHasAFuzzTarget(t *testing.T) {
	blocks := blockSeeds(t)
	source, err := os.ReadFile("fuzz_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for id := range blocks {
		if !bytes.Contains(source, []byte("func FuzzBlock"+id[2:]+"(")) {
			t.Errorf("no fuzz target for %s", id)
		}
	}
	if len(blocks) < 21 {
		t.Errorf("seed files have %d kinds of blocks", len(blocks))
	}
}

func FuzzFormula(f *testing.F) {
	for _, s := range []string{"X*2+1", "pow(X,2)", "-(-X)^2^.5", "0x1F & X | 3", "X>0 ? sgn(X) : not X mod 3", "if(X<<2 xor 5, min(X,1,2), ~X)"} {
		f.Add(s, 1.5)
	}
	f.Fuzz(func(t *testing.T, s string, x float64) {
		if p, err := parseFormula(s); err == nil {
			p.eval(x)
		}
	})
}

func FuzzData(f *testing.F) {
	whole, _ := unsorted(1, 6, false)
	f.Add(whole, uint8(1), uint8(16))
	f.Add(samples(4), uint8(0), uint8(12))
	f.Fuzz(func(t *testing.T, data []byte, idSize, size uint8) {
		b := newBuilder(unfinCycles)
		first := b.channels(cn{name: "x", dt: UintLE, bits: 8}, cn{name: "v", typ: VLSD, dt: UTF8, bits: 8})
		g := b.groups(cg{id: 1, data: uint32(size) + 1, first: first[0]}, cg{id: 2, flags: cgVLSD})
		b.setLink(first[1], 5, g[1])
		n := []int{0, 1, 2, 4, 8}[idSize%5]
		if n == 0 {
			b.setLink(g[0], 0, 0)
		}
		b.dg(n, g[0], b.split("DT", data, 30, 11))
		exhaust(t, b.b)
	})
}
