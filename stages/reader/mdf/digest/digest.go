// Package digest prints what a reader of MDF 4 files has decoded as JSON lines that another reader can be compared
// with: for each channel its kind and a SHA-256 of its raw and its physical values.
package digest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// line is one JSON object; encoding/json writes its keys sorted.
type line map[string]any

// File writes the digest of the file at path to w: a line for the file, then for each channel group a line followed
// by one a channel. name is what the lines call the file. Memory does not depend on the file's size. Of a damaged group the
// lines are about the records in front of the damage, which the key error names; the error is returned when all groups are
// written.
func File(ctx context.Context, w io.Writer, path, name string) error {
	f, err := mdf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	d := &writer{ctx: ctx, enc: json.NewEncoder(w), name: name}
	d.enc.SetEscapeHTML(false)
	sum, err := fileSum(path)
	if err != nil {
		return err
	}
	damage := f.Recount(ctx) // counts of the groups that are damaged are those of the records in front
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err = d.put(line{"type": "file", "file_sha256": sum, "groups": len(f.Groups),
		"version": fmt.Sprintf("%d.%02d", f.Version/100, f.Version%100)})
	for i := 0; i < len(f.Groups) && err == nil; i++ {
		err = d.group(f.Groups[i])
	}
	if err == nil {
		err = cmp.Or(d.damage, damage)
	}
	if err != nil {
		return fmt.Errorf("digest %s: %w", path, err)
	}
	return nil
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

type writer struct {
	ctx    context.Context
	enc    *json.Encoder
	name   string
	damage error // the first
}

func (d *writer) put(l line) error {
	l["file"] = d.name
	return d.enc.Encode(l)
}

// sums are the digests of one channel.
type sums struct {
	ch        *mdf.Channel
	raw, phys *sum // nil where the format has none
	numbers   *sum // of a conversion that gives texts and numbers
	converted bool // it gave a number
	invalid   int
	column    int // of the pass under way
}

func (d *writer) group(g *mdf.ChannelGroup) error {
	head := line{"type": "cg", "g": g.Index, "acq_name": g.AcqName, "channels": len(g.Channels), "cycles": g.Cycles}
	if g.VLSD {
		return d.put(head)
	}
	all, raw, phys := newSums(g)
	n, err := d.pass(g, mdf.ReadOptions{Raw: true}, raw, (*sums).addRaw)
	if err == nil {
		_, err = d.pass(g, mdf.ReadOptions{}, phys, (*sums).addPhysical)
	} else if n > 0 {
		_, _ = d.pass(g, mdf.ReadOptions{}, phys, (*sums).addPhysical) // ends at the same damage
	}
	switch {
	case d.ctx.Err() != nil:
		return d.ctx.Err()
	case err != nil:
		head["cycles"], head["error"] = n, err.Error()
		d.damage = cmp.Or(d.damage, err)
	}
	for _, s := range all {
		if s.ch == g.Master && s.phys != nil {
			s.phys.put(head, "master_")
			head["master"] = s.ch.Name
		}
	}
	if err := d.put(head); err != nil {
		return err
	}
	for _, s := range all {
		if err := d.put(s.line(head["cycles"])); err != nil {
			return err
		}
	}
	return nil
}

// newSums prepares the sums of all channels and lists those that have raw, and those that have physical values.
func newSums(g *mdf.ChannelGroup) (all, raw, phys []*sums) {
	for _, c := range g.Channels {
		s := &sums{ch: c}
		all = append(all, s)
		if isError(c) || c.Kind() == mdf.Struct {
			continue
		}
		s.raw = newSum()
		raw = append(raw, s)
		switch {
		case c.Err() != nil: // its conversion cannot be applied
		case c.Kind() == mdf.Text && c.Conversion != nil && (c.Conversion.Type == mdf.TextToValue || c.Conversion.Type == mdf.TextToText):
			s.phys = newSum()
		case c.Kind() == mdf.Number:
			s.phys = newSum()
			if c.Conversion != nil && c.Conversion.Mixed() {
				s.numbers = newSum()
			}
		}
		if s.phys != nil {
			phys = append(phys, s)
		}
	}
	return all, raw, phys
}

// isError says that nothing of the channel can be decoded, not even raw values.
func isError(c *mdf.Channel) bool { return c.Err() != nil && c.Err() != c.Conversion.Err() }

// pass reads the group once, adds its blocks to the sums, and says how many records it has.
func (d *writer) pass(g *mdf.ChannelGroup, opts mdf.ReadOptions, of []*sums, add func(*sums, *mdf.Block)) (n uint64, err error) {
	chans := make([]*mdf.Channel, len(of))
	for i, s := range of {
		chans[i], s.column = s.ch, i
	}
	r, err := g.Read(opts, chans...)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for {
		b, err := r.Next(d.ctx)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n += uint64(b.N)
		for _, s := range of {
			add(s, b)
		}
	}
}

func (s *sums) addRaw(b *mdf.Block) {
	c, n := &b.Columns[s.column], b.N
	s.countInvalid(b)
	switch c.Kind {
	case mdf.Text, mdf.Texts:
		s.raw.addTexts(c, n*max(c.Width, 1))
	case mdf.Bytes, mdf.ByteStrings:
		s.raw.addBytes(c, n*max(c.Width, 1))
	default:
		s.raw.addNumbers(c.Values)
	}
}

// countInvalid counts the bits that are set, also of a channel that is flagged as invalid altogether.
func (s *sums) countInvalid(b *mdf.Block) {
	c := s.ch
	at := int(c.InvalBit / 8)
	if !c.HasInvalidation() && !c.AllInvalid() || uint32(at) >= c.Group.InvalBytes {
		return
	}
	for i := range b.N {
		if b.Inval[i*b.InvalStride+at]>>(c.InvalBit%8)&1 != 0 {
			s.invalid++
		}
	}
}

func (s *sums) addPhysical(b *mdf.Block) {
	c, n := &b.Columns[s.column], b.N
	switch {
	case s.isText():
		s.phys.addTexts(c, n)
		if s.numbers != nil {
			s.numbers.addNumbers(c.Values)
			s.converted = s.converted || anyNumber(c.Values)
		}
	default:
		s.phys.addNumbers(c.Values)
	}
}

func anyNumber(v []float64) bool {
	for _, x := range v {
		if x == x {
			return true
		}
	}
	return false
}

func (s *sums) isText() bool { return s.ch.Conversion != nil && s.ch.Conversion.GivesText() }

var kinds = map[mdf.Kind]string{mdf.Number: "num", mdf.Text: "text", mdf.Bytes: "bytes", mdf.Complex: "complex",
	mdf.Numbers: "array", mdf.Struct: "struct", mdf.Texts: "text", mdf.ByteStrings: "bytes"}

func (s *sums) line(cycles any) line {
	c := s.ch
	l := line{"type": "cn", "g": c.Group.Index, "name": c.Name, "k": c.Occurrence, "unit": unit(c), "kind": kinds[c.Kind()],
		"n": cycles, "cn_type": c.Type, "data_type": c.DataType, "bits": c.BitCount, "cc": -1}
	if c.Conversion != nil {
		l["cc"] = c.Conversion.Type
	}
	if s.invalid > 0 {
		l["invalid"] = s.invalid
	}
	if c.Err() != nil {
		l["error"] = c.Err().Error()
	}
	if isError(c) {
		l["kind"] = "error"
		return l
	}
	if s.raw == nil {
		return l
	}
	s.raw.put(l, "raw_")
	if s.phys != nil {
		s.putPhysical(l)
	}
	return l
}

// unit is the unit as the reference has it: the text of a TX, but of an MD all the XML.
func unit(c *mdf.Channel) string {
	if c.UnitXML != "" {
		return c.UnitXML
	}
	return c.Unit
}

func (s *sums) putPhysical(l line) {
	c := s.ch
	switch {
	case c.Conversion == nil || s.raw.n == 0:
		l["phys"] = "same"
	case s.numbers != nil && s.converted: // texts beside numbers count as NaN
		l["phys"], l["exact"] = "num", false
		s.numbers.put(l, "")
	case s.isText():
		l["phys"] = "text"
		s.phys.put(l, "")
	default:
		l["phys"] = "num"
		t := c.Conversion.Type
		l["exact"] = t == mdf.Identity || t == mdf.Linear || t == mdf.TextToValue
		s.phys.put(l, "")
	}
}
