package arrowipc

import (
	"encoding/binary"
	"fmt"
)

// A flatbuffer reads FlatBuffers tables out of bytes that may hold anything. Its methods never panic: the first access out
// of bounds sets err, and from then on all return zero. arrow-go's own reader is generated code without bounds checks that
// allocates by the lengths it finds, and so cannot read what others may have written.
type flatbuffer struct {
	b      []byte
	base   int // offset of b in the event's data, for errors
	budget int // bytes that strings may still take: tables that point at one another's strings must not blow up
	err    error
}

// fail records the first error; at is relative to b.
func (f *flatbuffer) fail(at int, format string, args ...any) {
	if f.err == nil {
		f.err = corrupt(f.base+at, format, args...)
	}
}

func corrupt(at int, format string, args ...any) error {
	return fmt.Errorf("%w at byte %d: %s", ErrCorrupt, at, fmt.Sprintf(format, args...))
}

func (f *flatbuffer) bytes(at, n int) []byte {
	if f.err == nil && (at < 0 || n < 0 || at > len(f.b) || n > len(f.b)-at) {
		f.fail(at, "%d bytes of metadata reach beyond its end at %d", n, f.base+len(f.b))
	}
	if f.err != nil {
		return make([]byte, min(max(n, 0), 8))
	}
	return f.b[at : at+n]
}

func (f *flatbuffer) u8(at int) byte    { return f.bytes(at, 1)[0] }
func (f *flatbuffer) u16(at int) int    { return int(binary.LittleEndian.Uint16(f.bytes(at, 2))) }
func (f *flatbuffer) u32(at int) int    { return int(binary.LittleEndian.Uint32(f.bytes(at, 4))) }
func (f *flatbuffer) i32(at int) int    { return int(int32(binary.LittleEndian.Uint32(f.bytes(at, 4)))) }
func (f *flatbuffer) i64(at int) int64  { return int64(binary.LittleEndian.Uint64(f.bytes(at, 8))) }
func (f *flatbuffer) follow(at int) int { return at + f.u32(at) }

// field returns where a table holds the field of a slot; 0 when it holds the default.
func (f *flatbuffer) field(table, slot int) int {
	vtable := table - f.i32(table)
	entry := 4 + 2*slot
	if entry+2 > f.u16(vtable) {
		return 0
	}
	if off := f.u16(vtable + entry); off != 0 {
		return table + off
	}
	return 0
}

// vector returns the place of the first element and the number of elements; they lie inside the metadata.
func (f *flatbuffer) vector(field, elementBytes int) (first, n int) {
	if field == 0 {
		return 0, 0
	}
	at := f.follow(field)
	n = f.u32(at)
	if f.err == nil && n > (len(f.b)-at-4)/elementBytes {
		f.fail(at, "a vector of %d elements of %d bytes does not fit", n, elementBytes)
	}
	if f.err != nil {
		return 0, 0
	}
	return at + 4, n
}

func (f *flatbuffer) text(field int) string {
	at, n := f.vector(field, 1)
	if f.budget -= n; f.budget < 0 {
		f.fail(at, "more text than the metadata is long")
	}
	if n == 0 || f.err != nil {
		return ""
	}
	return string(f.bytes(at, n))
}
