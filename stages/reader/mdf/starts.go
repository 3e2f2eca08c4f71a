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

	walk   sync.Mutex // of walkLists, which is put off until a data block needs it
	walked bool
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
func (f *File) noteLinks(todo ...int64) error {
	if f.starts == nil {
		return nil
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
		if isReadError(err) {
			return err
		}
		if err != nil || !slices.Contains([]string{"##FH", "##CH", "##AT", "##EV", "##SR"}, id) {
			continue
		}
		// Blocks do not overlap, so in a sound file all links together are shorter than the file.
		if f.starts.links += nlink; int64(8*f.starts.links) > f.src.size || int64(8*nlink) > f.src.size-off-headerSize {
			return nil
		}
		b, err := f.src.at(off+headerSize, 8*nlink)
		if err != nil {
			return onlyReadError(err)
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
	return nil
}

// walkLists notes the blocks of all lists of data blocks, once.
func (f *File) walkLists() error {
	s := f.starts
	s.walk.Lock()
	defer s.walk.Unlock()
	if s.walked {
		return nil
	}
	before := len(s.known)
	if err := f.noteLists(); err != nil {
		s.known = s.known[:before]
		return err
	}
	slices.Sort(s.known)
	s.walked = true
	return nil
}

func (f *File) noteLists() error {
	c := f.newChain(0, "")
	for _, link := range f.starts.data {
		for link != 0 {
			id, _, _, err := c.src.header(link)
			if isReadError(err) {
				return err
			}
			if err != nil || id != "##HL" && id != "##DL" && id != "##LD" {
				break
			}
			b, err := c.list(link, id)
			if isReadError(err) {
				return err
			}
			if err != nil {
				break
			}
			for i := range b.nlink {
				f.note(b.link(i))
			}
			link = b.link(0)
		}
	}
	return nil
}

// endOf returns where the last plain data block of a list of an unfinalized file ends: it starts at off, its data head bytes further
// on. The length that it says is right if another block begins there; otherwise its data go on to the next known block, or to the end
// of the file.
func (f *File) endOf(off, head, length int64) (int64, error) {
	if err := f.walkLists(); err != nil {
		return 0, err
	}
	end := f.src.size
	known := f.starts.known
	for i := sort.Search(len(known), func(i int) bool { return known[i] > off }); i < len(known); i++ {
		if known[i] < off+head {
			continue
		}
		if size, err := f.blockAt(known[i]); err != nil {
			return 0, err
		} else if size > 0 {
			end = known[i]
			break
		}
	}
	if length >= head && length <= end-off {
		next, err := f.blockAt((off + length + 7) &^ 7)
		if next > 0 || err != nil {
			return off + length, err
		}
	}
	return end, nil
}

// blockAt returns the length of the block at off, as its header says; 0 if what stands there does not look like one.
func (f *File) blockAt(off int64) (int64, error) {
	id, length, nlink, err := f.src.header(off)
	if err != nil || id[2] < 'A' || id[2] > 'Z' || id[3] < 'A' || id[3] > 'Z' || length < headerSize+8*int64(nlink) {
		return 0, onlyReadError(err)
	}
	return length, nil
}

// unlisted is the next block behind the last one, or the last list, that a writer was cut off from listing (id_unfin_flags bit 4), 0
// for none. Other blocks may stand in between. With several data groups nobody could tell whose it is.
func (c *chain) unlisted() (int64, error) {
	f := c.f
	if f.Finalized || f.UnfinFlags&unfinDL == 0 || f.dataGroups != 1 || c.want != "##DT" {
		return 0, nil
	}
	off := c.listEnd
	if n := len(c.frags); n > 0 {
		last := &c.frags[n-1]
		off = last.body + last.disk
	}
	if off == 0 {
		return 0, nil
	}
	if err := f.walkLists(); err != nil {
		return 0, err
	}
	for {
		off = (off + 7) &^ 7
		length, err := f.blockAt(off)
		if length == 0 || err != nil {
			return 0, err
		}
		if _, known := slices.BinarySearch(f.starts.known, off); !known {
			if ours, err := c.holds(off, c.want); ours || err != nil {
				return off, err
			}
		}
		if length > c.src.size-off {
			return 0, nil
		}
		off += length
	}
}
