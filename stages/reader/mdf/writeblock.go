package mdf

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// blockWriter appends blocks to a file and patches links in those already written. The first error sticks.
type blockWriter struct {
	w     io.WriterAt
	end   int64
	texts map[string]int64 // TX blocks by text: units and the like are shared
	convs map[*Conversion]int64
	err   error
}

// append writes a block at the end of the file, 8-byte aligned, and returns its offset.
func (b *blockWriter) append(id string, links []int64, data ...[]byte) int64 {
	le := binary.LittleEndian
	length := headerSize + 8*len(links)
	for _, d := range data {
		length += len(d)
	}
	buf := make([]byte, 0, (length+7)&^7)
	buf = append(buf, "##"+id...)
	buf = append(buf, 0, 0, 0, 0)
	buf = le.AppendUint64(buf, uint64(length))
	buf = le.AppendUint64(buf, uint64(len(links)))
	for _, l := range links {
		buf = le.AppendUint64(buf, uint64(l))
	}
	for _, d := range data {
		buf = append(buf, d...)
	}
	for len(buf)%8 != 0 {
		buf = append(buf, 0)
	}
	return b.raw(buf)
}

// raw writes bytes at the end.
func (b *blockWriter) raw(p []byte) int64 {
	off := b.end
	b.at(p, off)
	b.end += int64(len(p))
	return off
}

func (b *blockWriter) at(p []byte, off int64) {
	if b.err != nil {
		return
	}
	if _, err := b.w.WriteAt(p, off); err != nil {
		b.err = fmt.Errorf("write %d bytes at %#x: %w", len(p), off, err)
	}
}

// setLink sets link i of the block at off.
func (b *blockWriter) setLink(off int64, i int, to int64) {
	b.setUint64(off+headerSize+8*int64(i), uint64(to))
}

func (b *blockWriter) setUint64(off int64, v uint64) {
	b.at(binary.LittleEndian.AppendUint64(nil, v), off)
}

// text writes a TX block; the empty text is a nil link.
func (b *blockWriter) text(s string) int64 {
	if s == "" {
		return 0
	}
	if off, ok := b.texts[s]; ok {
		return off
	}
	if b.texts == nil {
		b.texts = map[string]int64{}
	}
	off := b.append("TX", nil, append([]byte(s), 0))
	b.texts[s] = off
	return off
}

// comment writes an MD block with the text in the element that the standard's schema for that place wants.
func (b *blockWriter) comment(element, s, more string) int64 {
	if s == "" && more == "" {
		return 0
	}
	xml := "<" + element + ">\n<TX>" + escapeXML(s) + "</TX>\n" + more + "</" + element + ">"
	return b.append("MD", nil, append([]byte(xml), 0))
}

func escapeXML(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
