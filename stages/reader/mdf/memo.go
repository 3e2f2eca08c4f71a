package mdf

// A memo keeps what was read of the blocks of one kind by their offsets, while a file is opened. Blocks that are read one after the
// other stand beside each other in the file, ascending or descending; so what is kept of neighbours is kept together, 4 KiB of the
// file in a region. In one hash map each of the 60,000 blocks of a file with 20,000 channels cost some misses of the cache,
// together half the time of opening it.
type memo[V any] struct {
	regions map[int64]*region[V] // by offset / regionSize
	last    *region[V]           // asked for last
	number  int64                // of last
	rest    map[int64]V          // of damaged files: blocks that overlap
}

const regionSize = 4 << 10

type region[V any] struct {
	at      [regionSize / 8]uint8 // number in entries, from 1, of the block that starts in these 8 bytes
	entries []entry[V]
}

type entry[V any] struct {
	offset int64
	value  V
}

func (m *memo[V]) region(off int64) *region[V] {
	n := off / regionSize
	if m.last == nil || n != m.number {
		m.last, m.number = m.regions[n], n
	}
	return m.last
}

// get returns what was kept for off.
func (m *memo[V]) get(off int64) (v V, ok bool) {
	r := m.region(off)
	if r == nil {
		return v, false
	}
	if k := r.at[off>>3&(regionSize/8-1)]; k > 0 && r.entries[k-1].offset == off {
		return r.entries[k-1].value, true
	}
	v, ok = m.rest[off]
	return v, ok
}

// put keeps v for off, for which nothing was kept.
func (m *memo[V]) put(off int64, v V) {
	r := m.region(off)
	if r == nil {
		if m.regions == nil {
			m.regions = map[int64]*region[V]{}
		}
		r = &region[V]{entries: make([]entry[V], 0, 16)}
		m.last, m.regions[m.number] = r, r
	}
	if k := &r.at[off>>3&(regionSize/8-1)]; *k == 0 && len(r.entries) < 255 {
		r.entries = append(r.entries, entry[V]{off, v})
		*k = uint8(len(r.entries))
		return
	}
	if m.rest == nil {
		m.rest = map[int64]V{}
	}
	m.rest[off] = v
}
