package mdf

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"

	"github.com/klauspost/compress/zlib"
)

// Flags of an attachment (MDF 4.2, 5.7, at_flags).
const (
	atEmbedded   = 1 << 0
	atCompressed = 1 << 1
	atMD5        = 1 << 2
)

// An Attachment is a file that belongs to the recording: embedded in it, or named by it (ATBLOCK).
type Attachment struct {
	Name       string // file name or path
	MIMEType   string
	Comment    string
	CommentXML string
	Embedded   bool // false: it is another file, which Open does not look for
	Compressed bool
	Size       int64     // bytes, decompressed
	MD5        *[16]byte // of these bytes; nil if the file does not say

	f    *File
	off  int64 // of the block
	body int64 // of the bytes in the file
	disk int64
}

const atData = 40 // bytes in front of the embedded ones

// Attachments reads what is attached to the file, without the embedded bytes. What is in front of damage is returned with
// the error.
func (f *File) Attachments() ([]Attachment, error) {
	r := f.fresh()
	var all []Attachment
	for link := f.lists[hdAttachment]; link != 0; {
		a, next, err := r.attachment(link)
		if err != nil {
			return all, fmt.Errorf("read attachment %d: %w", len(all), err)
		}
		a.f = f
		all = append(all, a)
		link = next
	}
	return all, nil
}

// attachment reads the block without the embedded bytes, which may be most of the file.
func (f *File) attachment(link int64) (a Attachment, next int64, err error) {
	const id = "##AT"
	if err := f.once(link, id); err != nil {
		return a, 0, err
	}
	got, length, nlink, err := f.src.header(link)
	if err != nil {
		return a, 0, err
	}
	body := link + headerSize + 8*int64(nlink) + atData
	switch {
	case got != id:
		return a, 0, corrupt(link, got, "stands where %s is expected", id)
	case nlink < 4 || nlink > 64:
		return a, 0, corrupt(link, id, "has %d links", nlink)
	case length < body-link:
		return a, 0, corrupt(link, id, "says %d bytes and %d links", length, nlink)
	case length > f.src.size-link:
		return a, 0, truncated(link, id, length, f.src.size-link)
	}
	raw, err := f.src.at(link+headerSize, int(body-link-headerSize))
	if err != nil {
		return a, 0, err
	}
	b := block{id: id, off: link, raw: raw, nlink: nlink}
	return f.attachmentOf(b, body, length-(body-link))
}

func (f *File) attachmentOf(b block, body, room int64) (a Attachment, next int64, err error) {
	d := b.raw[8*b.nlink:]
	flags := binary.LittleEndian.Uint16(d)
	size, disk := binary.LittleEndian.Uint64(d[24:]), binary.LittleEndian.Uint64(d[32:])
	a = Attachment{off: b.off, body: body, Embedded: flags&atEmbedded != 0, Compressed: flags&(atEmbedded|atCompressed) == atEmbedded|atCompressed}
	switch {
	case size > math.MaxInt64 || a.Embedded && disk > uint64(room):
		return a, 0, corrupt(b.off, b.id, "has %d embedded bytes in %d, %d decompressed", disk, room, size)
	case a.Compressed && int64(size)/maxInflate > int64(disk)+1:
		return a, 0, corrupt(b.off, b.id, "says that %d bytes inflate to %d", disk, size)
	case a.Embedded && !a.Compressed && size != disk:
		return a, 0, corrupt(b.off, b.id, "has %d bytes and %d embedded", size, disk)
	}
	a.Size, a.disk = int64(size), int64(disk)
	if flags&atMD5 != 0 {
		a.MD5 = (*[16]byte)(bytes.Clone(d[8:24]))
	}
	if a.Name, err = f.text(b.link(1)); err != nil {
		return a, 0, err
	}
	if a.MIMEType, err = f.text(b.link(2)); err != nil {
		return a, 0, err
	}
	if a.CommentXML, err = f.rawText(b.link(3)); err != nil {
		return a, 0, err
	}
	a.Comment, err = f.text(b.link(3))
	return a, b.link(0), err
}

// Open returns the embedded bytes, decompressed. The reader checks length and MD5 sum: where they do not agree, its last
// Read gives a FormatError instead of io.EOF. For an attachment that is not embedded the error wraps ErrUnsupported.
func (a *Attachment) Open() (io.Reader, error) {
	if !a.Embedded {
		return nil, fmt.Errorf("attachment %q is a file of its own, not embedded: %w", a.Name, ErrUnsupported)
	}
	r := &attachmentReader{a: a, sum: md5.New()}
	r.in = &span{src: a.f.src, off: a.body, end: a.body + a.disk}
	if a.Compressed {
		z, err := zlib.NewReader(r.in)
		if err != nil {
			return nil, unreadable(a.off, "##AT", "cannot be decompressed", err)
		}
		r.in = z
	}
	return r, nil
}

type attachmentReader struct {
	a    *Attachment
	in   io.Reader
	sum  hash.Hash
	read int64
}

// Read implements io.Reader.
func (r *attachmentReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if int64(n) > r.a.Size-r.read {
		return 0, corrupt(r.a.off, "##AT", "has more than the %d bytes it says", r.a.Size)
	}
	r.sum.Write(p[:n])
	r.read += int64(n)
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		return n, unreadable(r.a.off, "##AT", fmt.Sprintf("cannot be read behind byte %d", r.read), err)
	case r.read < r.a.Size:
		return n, corrupt(r.a.off, "##AT", "has %d of the %d bytes it says", r.read, r.a.Size)
	case r.a.MD5 != nil && !bytes.Equal(r.sum.Sum(nil), r.a.MD5[:]):
		return n, corrupt(r.a.off, "##AT", "has another MD5 sum than it says: %x, not %x", r.sum.Sum(nil), r.a.MD5[:])
	}
	return n, err
}
