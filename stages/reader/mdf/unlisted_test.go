package mdf

import (
	"fmt"
	"testing"
)

// unlistedFile is a file of one data group whose blocks stand one behind the other: the list in front of them has links of the first
// ones only. A second list, which no link leads to, stands in front of block again, if there is one.
func unlistedFile(flags uint16, blocks, listed, again int, compressed bool) *builder {
	b := newBuilder(flags)
	g := b.groups(cg{data: 12, first: sampleChannels(b)})
	dl := b.append("DL", make([]int64, 1+blocks), make([]byte, 8+8*blocks))
	b.dg(0, g[0], dl)
	last := int64(0)
	for i := range blocks {
		if i == again {
			b.append("DL", make([]int64, 1+blocks), make([]byte, 8+8*blocks))
		}
		part := samples(10 * (i + 1))[120*i:]
		switch {
		case compressed && i%2 == 0:
			last = b.dz("DT", part, 12)
		default:
			last = b.append("DT", nil, part)
		}
		if i < listed {
			b.setLink(dl, 1+i, last)
		}
	}
	if flags&unfinDTLength != 0 && !(compressed && blocks%2 == 1) {
		b.setUint64(last+8, headerSize)
	}
	return b
}

func TestBlocksBehindTheLastListedOneAreRead(t *testing.T) {
	const blocks = 6
	for _, flags := range []uint16{unfinDL, unfinDL | unfinDTLength, unfinCycles | unfinDTLength | unfinDL | unfinVLSDBytes | unfinOffsets} {
		for _, listed := range []int{0, 1, 3, 5, 6} {
			for _, again := range []int{-1, listed} {
				for _, compressed := range []bool{false, true} {
					t.Run(fmt.Sprintf("flags %#x, %d listed, again %d, compressed %v", flags, listed, again, compressed), func(t *testing.T) {
						b := unlistedFile(flags|unfinCycles, blocks, listed, again, compressed)
						f := mustOpen(t, &b.memory)
						got, err := readAll(f.Groups[0], ReadOptions{})
						if err != nil {
							t.Fatal(err)
						}
						checkSamples(t, got, 10*blocks)
						checkFinalized(t, f)
					})
				}
			}
		}
	}
}

// Whose the blocks are that nobody lists is known only where there is one data group.
func TestUnlistedBlocksOfSeveralGroupsAreNobodys(t *testing.T) {
	b := unlistedFile(unfinCycles|unfinDL|unfinDTLength, 4, 2, -1, false)
	g := b.groups(cg{data: 12, first: sampleChannels(b)})
	b.dg(0, g[0], b.append("DT", nil, samples(1)))
	got, err := readAll(mustOpen(t, &b.memory).Groups[0], ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	checkSamples(t, got, 20)
}
