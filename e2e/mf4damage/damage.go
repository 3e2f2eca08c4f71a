package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// damage changes a copy of a file as transfers, dying disks and broken writers do, and as somebody does who means harm:
// bits, runs, a cut end; links that point elsewhere, lengths and counts that are absurd, blocks that change their kind.
func damage(r *rand.Rand, data []byte) []byte {
	out := bytes.Clone(data)
	blocks := blocksOf(out)
	for range 1 + r.IntN(4) {
		if len(blocks) > 0 && r.IntN(3) > 0 {
			damageBlock(r, out, blocks)
			continue
		}
		at := r.IntN(len(out))
		switch r.IntN(5) {
		case 0:
			out[at] ^= 1 << r.IntN(8)
		case 1:
			clear(out[at:min(at+r.IntN(600), len(out))])
		case 2:
			for i := at; i < min(at+r.IntN(64), len(out)); i++ {
				out[i] = byte(r.Uint32())
			}
		case 3:
			copy(out[at:], out[r.IntN(at+1):][:min(r.IntN(4096), len(out)-at)])
		case 4:
			if r.IntN(3) == 0 {
				out = out[:max(at, 100)]
				blocks = blocksOf(out)
			}
		}
	}
	return out
}

// blocksOf finds what looks like block headers.
func blocksOf(data []byte) (offsets []int) {
	for at := 64; at+24 <= len(data); at += 8 {
		if data[at] == '#' && data[at+1] == '#' && data[at+4]|data[at+5]|data[at+6]|data[at+7] == 0 {
			offsets = append(offsets, at)
		}
	}
	return offsets
}

var ids = []string{"HD", "FH", "CH", "AT", "EV", "DG", "CG", "SI", "CN", "CC", "CA", "TX", "MD", "DT", "DV", "DI", "SD", "RD", "DL", "LD", "HL", "DZ"}

// damageBlock changes one header, link or value of a block. Half of the time it is one of the few that matter most.
func damageBlock(r *rand.Rand, out []byte, blocks []int) {
	at := blocks[r.IntN(len(blocks))]
	if r.IntN(2) == 0 {
		for range 64 {
			if id := string(out[at+2 : at+4]); id != "TX" && id != "CN" && id != "MD" {
				break
			}
			at = blocks[r.IntN(len(blocks))]
		}
	}
	le := binary.LittleEndian
	links := int(min(le.Uint64(out[at+16:]), 64))
	put := func(i int, v uint64) {
		if i >= 0 && i+8 <= len(out) {
			le.PutUint64(out[i:], v)
		}
	}
	switch r.IntN(6) {
	case 0:
		put(at+8, absurd(r, le.Uint64(out[at+8:])))
	case 1:
		put(at+16, absurd(r, uint64(links)))
	case 2:
		copy(out[at+2:at+4], ids[r.IntN(len(ids))])
	case 3, 4: // a link: to another block, to itself, out of the file, nowhere
		target := []uint64{uint64(blocks[r.IntN(len(blocks))]), uint64(at), uint64(len(out)) + r.Uint64N(64), 0, r.Uint64()}
		put(at+24+8*r.IntN(max(links, 1)), target[r.IntN(len(target))])
	case 5: // a value behind the links
		i := at + 24 + 8*links + r.IntN(48)
		if r.IntN(2) == 0 && i < len(out) {
			out[i] = byte(r.Uint32())
		} else {
			put(i&^7, absurd(r, 1))
		}
	}
}

func absurd(r *rand.Rand, v uint64) uint64 {
	return []uint64{0, 1, v + 1, v - 1, v * 2, 1 << 20, 1 << 30, 1<<31 - 1, 1 << 32, 1 << 40, 1 << 60, 1<<63 - 1, 1 << 63, 1<<64 - 1, r.Uint64()}[r.IntN(15)]
}
