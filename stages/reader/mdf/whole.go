package mdf

import (
	"sync"

	"github.com/milepost-dev/milepost/stages/reader/mdf/inflate"
)

// workspace is what inflating a block at once needs. As many are in use as goroutines inflate at a time, however many readers
// there are, so they do not count towards Options.Hold.
type workspace struct {
	dec  inflate.Decoder
	comp []byte
	raw  []byte
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// whole inflates a block at once to dst, which has its size; false says that it could not. What is wrong then, and which bytes
// of a damaged or cut block can be had nevertheless, is for the inflater to say, which goes through it piece by piece.
func (w *workspace) whole(src *source, fr *fragment, dst []byte) bool {
	if fr.cut != nil || fr.disk > fr.size+fr.size/8+1024 { // nobody needs more to store so much
		return false
	}
	w.comp = grow(w.comp, int(fr.disk))
	return src.readFull(w.comp, fr.body) == nil && w.dec.Zlib(dst, w.comp) == nil
}

// inflateWhole is workspace.whole for a caller that has no workspace of its own.
func inflateWhole(src *source, fr *fragment, dst []byte) bool {
	if fr.size > wholeBlock {
		return false
	}
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	return w.whole(src, fr, dst)
}

// takeWhole inflates a block at once and keeps what is wanted of it.
func (p *planes) takeWhole(src *source, fr *fragment) bool {
	if fr.size > wholeBlock {
		return false
	}
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	w.raw = grow(w.raw, int(fr.size))
	if !w.whole(src, fr, w.raw) {
		return false
	}
	p.take(fr, w.raw, 0)
	return true
}
