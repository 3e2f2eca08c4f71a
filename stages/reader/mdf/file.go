package mdf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// Options bound what reading may take. The zero value is right for files on disk.
type Options struct {
	// MaxBlockBytes bounds what has to be in memory at once: an inflated transposed block, a record, a
	// variable-length value, a block that is no data. 0 means 64 MiB; the standard recommends blocks of at most 4 MiB.
	MaxBlockBytes int64
	// Hold bounds what readers keep of inflated blocks; nil means 32 MiB for all readers of the file together.
	Hold *Hold
	// KeepReadable opens a file whose header blocks are damaged with the groups in front of the damage, if there are
	// any; File.Damage says what it is.
	KeepReadable bool
}

func (o Options) maxBlock() int64 {
	if o.MaxBlockBytes <= 0 {
		return 64 << 20
	}
	return o.MaxBlockBytes
}

// Flags of unfinalized files (MDF 4.2, 5.3, id_unfin_flags): what the writer left to be updated.
const (
	unfinCycles    = 1 << 0 // cycle counters of CG
	unfinDTLength  = 1 << 2 // length of the last DT
	unfinDL        = 1 << 4 // last DL of each list
	unfinVLSDBytes = 1 << 5 // cg_data_bytes, cg_inval_bytes of VLSD groups
	unfinOffsets   = 1 << 6 // offsets of VLSD channels fed by a VLSD group
)

// A File is an open MDF 4 file. Its fields are set by Open and are not to be changed. Several readers of one File
// may be used at a time, each by one goroutine.
type File struct {
	Version    int    // 400 for 4.00, 411 for 4.11
	Program    string // writer, id_prog, at most 8 bytes
	Finalized  bool   // false: recording was cut off; counts and lengths are repaired while reading
	UnfinFlags uint16 // id_unfin_flags of an unfinalized file
	Start      time.Time
	LocalTime  bool   // Start is wall-clock time of an unknown zone, shown as UTC
	Comment    string // text of the header comment
	CommentXML string // the header comment as it stands
	Groups     []*ChannelGroup
	Damage     error // with Options.KeepReadable: why further groups are missing, nil if none are

	customFlags uint16 // id_custom_unfin_flags of an unfinalized file
	dataGroups  int    // with data

	lists  [hdEvent + 1]int64 // links of the header to lists that are read on demand
	src    *source
	opts   Options
	hold   *Hold
	closer io.Closer
	closed bool

	starts *starts // nil of a finalized file
	*opening
}

// opening is what has been read already, for sharing and against cycles. It is there only while header blocks are read.
type opening struct {
	texts   memo[textBlock]
	convs   memo[*Conversion]
	reading []int64 // offsets of the conversions that are being read, the outer one first
	sources map[int64]*Source
	seen    memo[struct{}]
	groupAt map[int64]*ChannelGroup
	spare   []Channel // not used yet

	lookedUp int64 // bytes of all texts that conversions look up
}

// Open opens the MDF 4 file at path, reading its header blocks only. The caller has to close it.
func Open(path string) (*File, error) { return Options{}.Open(path) }

// NewFile is Open for any source of size bytes, such as an HTTP range reader or an object in a store. r is used
// by all readers of the file, concurrently if they are.
//
// What keeps r from reading is no damage of the file: such an error is never a FormatError, wraps what r has returned (unless that
// wraps io.EOF itself, as a connection that breaks does), and nothing is skipped for it. A reader goes on after Seek, SeekTime or
// Resume; all else is tried again by calling again. Only io.EOF itself says that the file ends in front of size.
func NewFile(r io.ReaderAt, size int64) (*File, error) { return Options{}.NewFile(r, size) }

// Open is the function Open with these options. What is no regular file is refused with ErrNotRegular before it is opened: opening
// a pipe waits for its writer.
func (o Options) Open(path string) (*File, error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	m, err := o.NewFile(f, st.Size())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m.closer = f
	return m, nil
}

// NewFile is the function NewFile with these options.
func (o Options) NewFile(r io.ReaderAt, size int64) (*File, error) {
	f := &File{
		src:     &source{r: r, size: size, pages: map[int64][]byte{}, budget: size, limit: o.maxBlock()},
		opts:    o,
		hold:    o.Hold,
		opening: &opening{sources: map[int64]*Source{}, groupAt: map[int64]*ChannelGroup{}},
	}
	if f.hold == nil {
		f.hold = NewHold(defaultHold)
	}
	if err := f.readID(); err != nil {
		return nil, err
	}
	if err := f.readHeader(); err != nil {
		if !o.KeepReadable || len(f.Groups) == 0 || isReadError(err) {
			return nil, err
		}
		f.Damage = err
		if err := f.bindGroups(); err != nil {
			return nil, err
		}
	}
	f.finishOpen()
	return f, nil
}

// finishOpen drops what only opening needs.
func (f *File) finishOpen() {
	if f.starts != nil {
		slices.Sort(f.starts.known)
	}
	f.src.uncache()
	f.opening = nil
}

// Close closes the file if Open opened it. Readers of it return ErrClosed then, as soon as they need the file. Closing twice is allowed.
func (f *File) Close() error {
	if f.closed {
		return nil
	}
	f.closed = true
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

// Size returns the size of the file in bytes.
func (f *File) Size() int64 { return f.src.size }

// readID reads the IDBLOCK (MDF 4.2, 5.3), the only block without a header.
func (f *File) readID() error {
	b := make([]byte, min(64, f.src.size))
	if err := f.src.readFull(b, 0); err != nil {
		return err
	}
	if len(b) == 0 {
		return fmt.Errorf("%w: it is empty", ErrNotMDF)
	}
	if len(b) < 8 || !isMagic(b) {
		return fmt.Errorf("%w: it starts with %q, an MDF file with \"MDF     \"", ErrNotMDF, b[:min(8, len(b))])
	}
	if len(b) < 64 {
		e := corrupt(0, "", "the identification block is 64 bytes long, file ends after %d", len(b))
		e.Err = io.ErrUnexpectedEOF
		return e
	}
	f.Finalized = b[0] == 'M'
	f.Version = int(binary.LittleEndian.Uint16(b[28:]))
	f.Program = strings.TrimSpace(string(cutNUL(b[16:24])))
	if !f.Finalized {
		f.UnfinFlags, f.customFlags = binary.LittleEndian.Uint16(b[60:]), binary.LittleEndian.Uint16(b[62:])
		f.starts = &starts{seen: map[int64]bool{}}
	}
	if text := strings.TrimSpace(string(cutNUL(b[8:16]))); f.Version == 0 || text != "" && text[0] < '4' {
		return f.checkOld(text)
	}
	if f.Version >= 500 || f.Version < 400 {
		return f.checkOld(fmt.Sprintf("%d.%02d", f.Version/100, f.Version%100))
	}
	return nil
}

func isMagic(b []byte) bool {
	return bytes.HasPrefix(b, []byte("MDF ")) || bytes.HasPrefix(b, []byte("UnFinMF"))
}

func (f *File) checkOld(version string) error {
	if version != "" && (version[0] == '2' || version[0] == '3') {
		return fmt.Errorf("%w: the file is MDF %s, MDF 4.00 and later can be read; convert it first, "+
			"for instance with asammdf: MDF(path).convert(\"4.10\").save(out)", ErrOldVersion, version)
	}
	return fmt.Errorf("%w: the file says version %q, MDF 4 is expected", ErrOldVersion, version)
}

// readHeader reads the HDBLOCK at offset 64 (MDF 4.2, 5.4) and all groups below it.
func (f *File) readHeader() error {
	b, err := f.src.block(64, "##HD")
	if err != nil {
		return err
	}
	d, err := b.data(24)
	if err != nil {
		return err
	}
	f.Start, f.LocalTime = timestamp(d)
	for i := range f.lists {
		f.lists[i] = b.link(i)
	}
	if err := f.noteLinks(f.lists[hdHistory:]...); err != nil {
		return err
	}
	if f.CommentXML, err = f.rawText(b.link(5)); err != nil {
		return fmt.Errorf("read header comment: %w", err)
	}
	f.Comment, _ = f.text(b.link(5))
	return f.readDataGroups(b.link(0))
}

// once marks the block at off as used and says so when it was used before: that link closes a cycle.
func (f *File) once(off int64, id string) error {
	if f.isSeen(off) {
		return corrupt(off, id, "is linked to twice: the links form a cycle")
	}
	f.seen.put(off, struct{}{})
	f.note(off)
	return nil
}

func (f *File) isSeen(off int64) bool {
	_, ok := f.seen.get(off)
	return ok
}

// Group returns the first channel group with records whose acquisition name is name, or nil.
func (f *File) Group(name string) *ChannelGroup {
	for _, g := range f.Groups {
		if g.AcqName == name && !g.VLSD {
			return g
		}
	}
	return nil
}

// IsTruncated reports whether err says that the file ends too early rather than that it is wrong.
func IsTruncated(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }
