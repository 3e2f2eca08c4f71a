package mdf

import (
	"encoding/binary"
	"slices"
	"sort"
	"sync"
)

// starts are the places of an unfinalized file where blocks are known to start: the last data block of a recording that was cut off
// may say any length (MDF 4.2, 5.3, id_unfin_flags bit 2), and what it has ends there at the latest.
type starts struct {
	known []int64        // ascending after walk
	data  []int64        // links to lists of data blocks
	seen  map[int64]bool // by noteLinks
	links int            // read by noteLinks
	walk  sync.Once      // walkLists is put off until a data block needs it
}

// note keeps where a block of an unfinalized file starts.
func (f *File) note(off int64) {
	if f.starts != nil && off > 0 {
		f.starts.known = append(f.starts.known, off)
	}
}

// noteData is note for data blocks, or a list of such.
func (f *File) noteData(link int64) {
	if f.starts != nil && link > 0 {
		f.note(link)
		f.starts.data = append(f.starts.data, link)
	}
}

// noteLinks notes what a block that is not read otherwise links to, and likewise all blocks behind it: history, hierarchy,
// attachments, events, and sample reductions.
func (f *File) noteLinks(todo ...int64) {
	if f.starts == nil {
		return
	}
	for len(todo) > 0 {
		off := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if off == 0 || f.starts.seen[off] {
			continue
		}
		f.starts.seen[off] = true
		f.note(off)
		id, _, nlink, err := f.src.header(off)
		if err != nil || !slices.Contains([]string{"##FH", "##CH", "##AT", "##EV", "##SR"}, id) {
			continue
		}
		// Blocks do not overlap, so in a sound file all links together are shorter than the file.
		if f.starts.links += nlink; int64(8*f.starts.links) > f.src.size || int64(8*nlink) > f.src.size-off-headerSize {
			return
		}
		b, err := f.src.at(off+headerSize, 8*nlink)
		if err != nil {
			return
		}
		for i := range nlink {
			link := int64(binary.LittleEndian.Uint64(b[8*i:]))
			if id == "##SR" && i == 1 {
				f.noteData(link)
			} else {
				todo = append(todo, link)
			}
		}
	}
}

// walkLists notes the blocks of all lists of data blocks.
func (f *File) walkLists() {
	c := f.newChain(0, "")
	for _, link := range f.starts.data {
		for link != 0 {
			id, _, _, err := c.src.header(link)
			if err != nil || id != "##HL" && id != "##DL" && id != "##LD" {
				break
			}
			b, err := c.list(link, id)
			if err != nil {
				break
			}
			for i := range b.nlink {
				f.note(b.link(i))
			}
			link = b.link(0)
		}
	}
	slices.Sort(f.starts.known)
}

// endOf returns where the last plain data block of a list of an unfinalized file ends: it starts at off, its data head bytes further
// on. The length that it says is right if another block begins there; otherwise its data go on to the next known block, or to the end
// of the file.
func (f *File) endOf(off, head, length int64) int64 {
	f.starts.walk.Do(f.walkLists)
	end := f.src.size
	known := f.starts.known
	for i := sort.Search(len(known), func(i int) bool { return known[i] > off }); i < len(known); i++ {
		if known[i] >= off+head && f.isBlock(known[i]) {
			end = known[i]
			break
		}
	}
	if length >= head && length <= end-off && f.isBlock((off+length+7)&^7) {
		return off + length
	}
	return end
}

// isBlock says whether what stands at off looks like the header of a block.
func (f *File) isBlock(off int64) bool {
	id, length, nlink, err := f.src.header(off)
	return err == nil && id[2] >= 'A' && id[2] <= 'Z' && id[3] >= 'A' && id[3] <= 'Z' && length >= headerSize+8*int64(nlink)
}
