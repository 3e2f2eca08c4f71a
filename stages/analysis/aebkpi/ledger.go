package aebkpi

import (
	"encoding/binary"
	"math"
)

// The lists that grow with the recording.
const (
	listTHW = iota
	listTTC
	listSamples
	lists
)

// chunkValues is how many values of a list are set in stone at once: 32 KiB.
const chunkValues = 4096

// A ledger holds lists of numbers so that a snapshot of them grows at its end only: a full chunk is encoded once, behind
// those before it, whatever list it belongs to. Snapshots are stored in pages by their hash, so what does not change is not
// written again, and a ten-hour drive checkpoints as fast as a short one.
type ledger struct {
	stone []byte           // full chunks: the list's number and its values, 8 bytes each
	tails [lists][]float64 // what is not a full chunk yet
}

// add appends values to a list.
func (l *ledger) add(list int, values ...float64) {
	for _, v := range values {
		l.tails[list] = append(l.tails[list], v)
		if len(l.tails[list]) == chunkValues {
			l.seal(list)
		}
	}
}

func (l *ledger) seal(list int) {
	l.stone = binary.LittleEndian.AppendUint64(l.stone, uint64(list))
	l.stone = appendFloats(l.stone, l.tails[list])
	l.tails[list] = l.tails[list][:0]
}

const chunkBytes = 8 * (1 + chunkValues)

// values returns all values of a list, in a slice of the caller's.
func (l *ledger) values(list int) []float64 {
	var out []float64
	for chunk := l.stone; len(chunk) > 0; chunk = chunk[chunkBytes:] {
		if binary.LittleEndian.Uint64(chunk) == uint64(list) {
			out = readFloats(out, chunk[8:chunkBytes])
		}
	}
	return append(out, l.tails[list]...)
}

func appendFloats(b []byte, values []float64) []byte {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}

func readFloats(out []float64, b []byte) []float64 {
	for ; len(b) >= 8; b = b[8:] {
		out = append(out, math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
	return out
}
