package mdf

import (
	"crypto/md5"
	"encoding/binary"
)

// AttachmentSpec describes a file to embed.
type AttachmentSpec struct {
	Name     string // file name
	MIMEType string
	Comment  string
}

// Attach embeds a file (ATBLOCK: MDF 4.2, 5.7) with its MD5 sum, compressed unless the writer's blocks are not.
func (w *Writer) Attach(spec AttachmentSpec, data []byte) error {
	if w.closed {
		return ErrClosed
	}
	b, le := &w.b, binary.LittleEndian
	flags, body, sum := uint16(atEmbedded|atMD5), data, md5.Sum(data)
	if w.opts.Compression != Uncompressed {
		packed, err := w.pack.deflate(data)
		if err != nil {
			return err
		}
		flags, body = flags|atCompressed, packed
	}
	d := le.AppendUint16(nil, flags)
	d = append(d, make([]byte, 6)...) // who attached it: the first entry of the file's history
	d = append(d, sum[:]...)
	d = le.AppendUint64(d, uint64(len(data)))
	d = le.AppendUint64(d, uint64(len(body)))
	name, mime, comment := b.text(spec.Name), b.text(spec.MIMEType), b.comment("ATcomment", spec.Comment, "")
	at := b.append("AT", []int64{0, name, mime, comment}, d, body)
	if w.lastAT == 0 {
		b.setLink(64, hdAttachment, at)
	} else {
		b.setLink(w.lastAT, 0, at)
	}
	w.lastAT = at
	return b.err
}
