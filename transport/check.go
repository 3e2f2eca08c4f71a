package transport

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/schemas"
)

// PageBytes is the size that SplitPages cuts a snapshot at, and the size above which a snapshot is worth cutting.
const PageBytes = 256 << 10

// SplitPages cuts a snapshot into pages of PageBytes at fixed places, so that what did not change keeps its hash. The pages
// share the snapshot's memory.
func SplitPages(snapshot []byte) []PageData {
	var pages []PageData
	for len(snapshot) > 0 {
		n := min(PageBytes, len(snapshot))
		pages = append(pages, PageData{Hash: sha256.Sum256(snapshot[:n]), Data: snapshot[:n:n]})
		snapshot = snapshot[n:]
	}
	return pages
}

// String is the hash in hexadecimal, the last token of the page's subject.
func (h PageHash) String() string { return fmt.Sprintf("%x", h[:]) }

// Check says whether the record may be appended to the chain: its kind can be, its event is of this chain and has a type,
// its page hashes to its name. Drivers call it for each record of an Append before they store the first.
func (r *Record) Check(id schemas.ChainID) error {
	switch {
	case r.Kind == Page && r.Page == nil:
		return fmt.Errorf("append to %s: a page without data", id)
	case r.Kind == Page && sha256.Sum256(r.Page.Data) != r.Page.Hash:
		return fmt.Errorf("append to %s: page %s does not hash to its name", id, r.Page.Hash)
	case r.Kind == Page:
		return nil
	case r.Kind > Page:
		return fmt.Errorf("append to %s: kind %d is not for Append", id, r.Kind)
	case r.Event.Chain != id:
		return fmt.Errorf("append to %s: event %s is of another chain", id, r.Event.ID())
	case r.Event.Type == "":
		return fmt.Errorf("append to %s: event %s has no type", id, r.Event.ID())
	case !plain(r.Event.ContentType):
		return fmt.Errorf("append to %s: event %s: content type %q is not printable ASCII", id, r.Event.ID(), r.Event.ContentType)
	case !plain(r.Event.DataRef): // RFC 3986: a reference is ASCII, anything else is escaped in it
		return fmt.Errorf("append to %s: event %s: dataref %q is not printable ASCII", id, r.Event.ID(), r.Event.DataRef)
	}
	return nil
}

// plain says whether a header carries the value as it is.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return strings.TrimSpace(s) == s
}

// CheckAll checks the records of one Append, out being the sequence of the chain's last out event.
func CheckAll(id schemas.ChainID, out uint64, records []Record) error {
	for i := range records {
		r := &records[i]
		if err := r.Check(id); err != nil {
			return err
		}
		if r.Kind != Out {
			continue
		}
		if out++; r.Event.Sequence != out {
			return fmt.Errorf("append to %s: out event has sequence %d, the next is %d", id, r.Event.Sequence, out)
		}
	}
	return nil
}

// A PageSet is the pages that a chain's next checkpoint may name.
type PageSet map[PageHash]struct{}

// Add notes a page that was appended.
func (s *PageSet) Add(h PageHash) {
	if *s == nil {
		*s = PageSet{}
	}
	(*s)[h] = struct{}{}
}

// Check says whether the checkpoint names only pages of the set.
func (s PageSet) Check(id schemas.ChainID, c *Checkpoint) error {
	for _, h := range c.Pages {
		if _, ok := s[h]; !ok {
			return fmt.Errorf("checkpoint of %s names page %s, which it neither appended nor had in the checkpoint before", id, h)
		}
	}
	if len(c.Pages) > 0 && len(c.Snapshot) > 0 {
		return fmt.Errorf("checkpoint of %s has both a snapshot and pages", id)
	}
	return nil
}

// Reset leaves the pages of the checkpoint, the newest one, alone in the set.
func (s *PageSet) Reset(c *Checkpoint) {
	*s = nil
	if c == nil {
		return
	}
	for _, h := range c.Pages {
		s.Add(h)
	}
}

// MayGoOn says whether a Chain is still good after the error of an Append or Commit: the log was full, or the record was
// refused for what it is, and nothing was sent.
func MayGoOn(err error) bool { return errors.Is(err, ErrFull) || errors.Is(err, ErrTooLarge) }

// Sorted returns the chains of a Commit in order of their names, as the driver's own type; one of another driver is an error.
func Sorted[C Chain](checkpoints map[Chain]Checkpoint) ([]C, error) {
	chains := make([]C, 0, len(checkpoints))
	for ch := range checkpoints {
		c, ok := ch.(C)
		if !ok {
			return nil, fmt.Errorf("commit: chain %s is of another broker", ch.ID())
		}
		chains = append(chains, c)
	}
	slices.SortFunc(chains, func(a, b C) int { return strings.Compare(a.ID().String(), b.ID().String()) })
	return chains, nil
}
