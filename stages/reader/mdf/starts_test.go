package mdf

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// inLists writes two sorted groups whose data blocks stand in the file by turns: a of the first, b of the second, and so on. The lists
// stand in front of them, with room for more blocks. wrong is what the last block of each list says of its length; 0: the truth.
func inLists(flags uint16, wrong uint64, sizes ...int) *builder {
	b := newBuilder(flags)
	var lists [2]int64
	n := (len(sizes) + 1) / 2
	for i := range lists {
		g := b.groups(cg{data: 12, first: sampleChannels(b)})
		d := make([]byte, 8)
		d[4] = byte(n)
		links := make([]int64, 1+n)
		if flags&unfinDL != 0 {
			links = append(links, 0, 0)
		}
		lists[i] = b.append("DL", links, d, make([]byte, 8*n))
		b.dg(0, g[0], lists[i])
	}
	var next [2]int
	for i, size := range sizes {
		g := i % 2
		block := b.append("DT", nil, samples(next[g] + size)[12*next[g]:])
		next[g] += size
		b.setLink(lists[g], 1+i/2, block)
		if wrong != 0 && i+2 >= len(sizes) {
			b.setUint64(block+8, wrong)
		}
	}
	return b
}

func TestLastBlockOfAListEndsWhereAnotherGroupsBegins(t *testing.T) {
	for _, flags := range []uint16{unfinCycles | unfinDTLength, unfinCycles | unfinDTLength | unfinDL} {
		for _, wrong := range []uint64{0, headerSize, headerSize + 24} {
			t.Run(fmt.Sprintf("flags %#x, length %d", flags, wrong), func(t *testing.T) {
				f := mustOpen(t, &inLists(flags, wrong, 18, 20, 22, 32).memory)
				for i, n := range []int{40, 52} {
					got, err := readAll(f.Groups[i], ReadOptions{})
					if err != nil {
						t.Fatal(err)
					}
					checkSamples(t, got, n)
				}
				checkFinalized(t, f)
			})
		}
	}
}

// Where the length that a block says is right, what is between its end and the next block is no record.
func TestRightLengthOfTheLastBlockIsTrusted(t *testing.T) {
	for _, data := range []string{"", "abc"} { // bytes follow so that the next block is aligned
		b := newBuilder(unfinCycles | unfinDTLength)
		g := b.groups(cg{data: 1, first: b.channels(cn{name: "x", dt: UintLE, bits: 8})[0]})
		dg := b.dg(0, g[0], 0)
		b.setLink(dg, 2, b.append("DT", nil, []byte(data)))
		b.append("DT", nil, []byte("not listed"))
		got, err := readAll(mustOpen(t, &b.memory).Groups[0], ReadOptions{})
		if err != nil || len(got.values[0]) != len(data) {
			t.Errorf("%q: %v, %v", data, got.values, err)
		}
	}
}

func TestLastBlockEndsWhereAnyOtherBlockBegins(t *testing.T) {
	write := map[string]func(b *builder, g int64){
		"comment of an event": func(b *builder, _ int64) {
			note := b.md("<EVcomment><TX>behind the data</TX></EVcomment>")
			b.setLink(64, hdEvent, b.append("EV", []int64{0, 0, 0, b.text("name"), note}, make([]byte, 32)))
		},
		"name in the hierarchy": func(b *builder, _ int64) {
			child := b.append("CH", []int64{0, 0, b.text("child"), 0}, make([]byte, 8))
			b.setLink(64, hdHierarchy, b.append("CH", []int64{0, child, b.text("parent"), 0}, make([]byte, 8)))
		},
		"sample reduction": func(b *builder, g int64) {
			rd := b.append("RD", nil, make([]byte, 36))
			b.setLink(g, 4, b.append("SR", []int64{0, b.dl(9, rd)}, make([]byte, 24)))
		},
	}
	for name, write := range write {
		t.Run(name, func(t *testing.T) {
			b := newBuilder(unfinCycles | unfinDTLength)
			g := b.groups(cg{data: 12, first: sampleChannels(b)})
			dg := b.dg(0, g[0], 0)
			block := b.append("DT", nil, samples(20))
			b.setLink(dg, 2, block)
			b.setUint64(block+8, headerSize)
			write(b, g[0])
			got, err := readAll(mustOpen(t, &b.memory).Groups[0], ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			checkSamples(t, got, 20)
		})
	}
}

func TestColumnsOfAnUnfinalizedFileEndWhereTheirInvalidationBytesBegin(t *testing.T) {
	for _, wrong := range []bool{false, true} {
		b := newBuilder(unfinCycles | unfinDTLength)
		first := b.channels(cn{name: "t", typ: Master, sync: SyncTime, dt: FloatLE, bits: 64},
			cn{name: "x", dt: UintLE, off: 8, bits: 32, flags: cnInvalBit, inval: 1})
		g := b.groups(cg{data: 12, inval: 1, first: first[0]})
		ld := b.append("LD", make([]int64, 3), []byte{0, 0, 0, 0x80, 1, 0, 0, 0}, make([]byte, 8))
		b.dg(0, g[0], ld)
		inval := make([]byte, 24)
		for i := range inval {
			inval[i] = byte(i % 2 * 2)
		}
		dv := b.append("DV", nil, samples(24))
		b.setLink(ld, 1, dv)
		b.setLink(ld, 2, b.append("DI", nil, inval))
		if wrong {
			b.setUint64(dv+8, headerSize)
		}
		f := mustOpen(t, &b.memory)
		checkColumns(t, f, 24)
		if err := f.Recount(t.Context()); err != nil || f.Groups[0].Cycles != 24 {
			t.Errorf("%d records, %v", f.Groups[0].Cycles, err)
		}
	}
}

// Links of blocks that lie in each other are not read over and over.
func TestLinksOfOverlappingBlocksAreBounded(t *testing.T) {
	b := newBuilder(unfinCycles | unfinDTLength)
	g := b.groups(cg{data: 12, first: sampleChannels(b)})
	b.dg(0, g[0], b.append("DT", nil, samples(3)))
	const n = 4000
	chain := make([]byte, 32*n)
	for i := range n {
		h := chain[32*i:]
		copy(h, "##CH")
		binary.LittleEndian.PutUint64(h[8:], uint64(len(chain)-32*i))
		binary.LittleEndian.PutUint64(h[16:], uint64(len(chain)-32*i-headerSize)/8)
		binary.LittleEndian.PutUint64(h[24:], uint64(b.end+int64(32*(i+1))))
	}
	b.setLink(64, hdHierarchy, b.end)
	b.raw(chain)
	if f := mustOpen(t, &b.memory); int64(f.starts.links) > f.src.size { // each is 8 bytes long
		t.Errorf("%d links of a file of %d bytes are read", f.starts.links, f.src.size)
	}
}
