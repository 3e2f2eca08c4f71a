package mdf

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// ConversionType is the rule of a conversion (cc_type).
type ConversionType uint8

// Conversion types of MDF 4.2, 5.14.
const (
	Identity          ConversionType = iota
	Linear                           // Values[0] + Values[1]·x
	Rational                         // (v0·x² + v1·x + v2) / (v3·x² + v4·x + v5)
	Algebraic                        // Formula
	TableInterpolated                // pairs key, value
	TableNearest                     // pairs key, value; the nearest key, the lower one in the middle
	RangeToValue                     // triples lower, upper, value, then the default
	ValueToText                      // keys in Values, Refs, the last of them is the default
	RangeToText                      // pairs lower, upper in Values, Refs, the last is the default
	TextToValue                      // Refs are the keys, the last of Values is the default
	TextToText                       // Refs are pairs key, text, then the default
	BitfieldText                     // masks in Masks, Refs give the text of each masked value
)

// A Conversion turns raw values into physical ones (CCBLOCK). All arithmetic is binary64, each operation rounded.
type Conversion struct {
	Type    ConversionType
	Name    string
	Unit    string
	Comment string
	Values  []float64       // cc_val
	Masks   []uint64        // cc_val of a BitfieldText
	Refs    []ConversionRef // cc_ref
	Formula string

	err        error // why it cannot be applied
	program    *formula
	hasText    bool // some rule gives a text
	hasNumbers bool // some rule of a text table gives a number
	texts      map[string]int
	keys       map[float64]int // of a large ValueToText
	ranges     *ranges         // of a large RangeToValue or RangeToText
	nesting
}

// A ConversionRef is what a table refers to: a text, or another conversion, or nothing.
type ConversionRef struct {
	Text       string
	Conversion *Conversion // nil: Text
	Nil        bool        // neither
}

// conversion reads the CCBLOCK at link (MDF 4.2, 5.14); channels of equal conversion share the block.
func (f *File) conversion(link int64, depth int) (*Conversion, error) {
	if link == 0 {
		return nil, nil
	}
	if c, ok := f.convs.get(link); ok {
		return c, nil
	}
	if slices.Contains(f.reading, link) {
		return nil, corrupt(link, "##CC", "refers to itself")
	}
	if depth > maxDepth {
		return nil, corrupt(link, "##CC", "is nested more than %d deep", maxDepth)
	}
	f.reading = append(f.reading, link)
	defer func() { f.reading = f.reading[:len(f.reading)-1] }()
	f.note(link)
	b, err := f.src.block(link, "##CC")
	if err != nil {
		return nil, err
	}
	c, err := f.newConversion(b, depth)
	if err != nil {
		return nil, err
	}
	f.convs.put(link, c)
	return c, nil
}

func (f *File) newConversion(b block, depth int) (*Conversion, error) {
	d, err := b.data(24)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	c := &Conversion{Type: ConversionType(d[0])}
	nref, nval := int(le.Uint16(d[4:])), int(le.Uint16(d[6:]))
	if _, c.err = b.data(24 + 8*nval); c.err == nil && b.nlink < 4+nref {
		c.err = corrupt(b.off, b.id, "has %d links, %d references need %d", b.nlink, nref, 4+nref)
	}
	if c.err != nil {
		nref, nval = 0, 0
	}
	c.setValues(d[24:], nval)
	if c.Name, err = f.text(b.link(0)); err != nil {
		return nil, err
	}
	if c.Unit, err = f.text(b.link(1)); err != nil {
		return nil, err
	}
	if c.Comment, err = f.text(b.link(2)); err != nil {
		return nil, err
	}
	for i := range nref {
		r, err := f.conversionRef(b.link(4+i), depth)
		if err != nil {
			return nil, err
		}
		c.Refs = append(c.Refs, r)
	}
	if c.err == nil {
		c.err = f.boundTexts(c, b.off)
	}
	if err := c.compile(b.off); c.err == nil {
		c.err = err
	}
	if limit := f.opts.maxBlock(); c.err == nil && c.longest > limit {
		c.err = fmt.Errorf("conversion at %#x: texts of %d bytes, Options.MaxBlockBytes is %d: %w", b.off, c.longest, limit, ErrLimit)
	}
	return c, nil
}

// boundTexts bounds what the texts that conversions look up take: each is hashed, and any number of references may be to one text.
func (f *File) boundTexts(c *Conversion, off int64) error {
	if !c.takesText() {
		return nil
	}
	for _, r := range c.Refs {
		f.lookedUp += int64(len(r.Text))
	}
	if f.lookedUp > 1<<20+16*f.src.size {
		c.Refs = nil
		return corrupt(off, "##CC", "refers to texts that others refer to: together they are %d bytes long", f.lookedUp)
	}
	return nil
}

// Err says why the conversion cannot be applied, nil if it can. Channels that have it can be read raw.
func (c *Conversion) Err() error {
	if c == nil {
		return nil
	}
	return c.err
}

func (c *Conversion) setValues(d []byte, n int) {
	if c.Type == BitfieldText {
		c.Masks = make([]uint64, 0, n)
	} else if n > 0 {
		c.Values = make([]float64, 0, n)
	}
	for i := range n {
		u := binary.LittleEndian.Uint64(d[8*i:])
		if c.Type == BitfieldText {
			c.Masks = append(c.Masks, u)
		} else {
			c.Values = append(c.Values, math.Float64frombits(u))
		}
	}
}

func (f *File) conversionRef(link int64, depth int) (ConversionRef, error) {
	if link == 0 {
		return ConversionRef{Nil: true}, nil
	}
	id, _, _, err := f.src.header(link)
	if err != nil {
		return ConversionRef{}, err
	}
	if id == "##CC" {
		c, err := f.conversion(link, depth+1)
		return ConversionRef{Conversion: c}, err
	}
	t, err := f.text(link)
	return ConversionRef{Text: t}, err
}

// compile checks the counts of values and references and prepares what conversion needs.
func (c *Conversion) compile(off int64) error {
	if err := c.measure(off); err != nil {
		return err
	}
	n, r := len(c.Values), len(c.Refs)
	for _, ref := range c.Refs {
		if err := ref.Conversion.Err(); err != nil {
			return err
		}
	}
	if c.Type > BitfieldText {
		return fmt.Errorf("conversion at %#x: type %d: %w", off, c.Type, ErrUnsupported)
	}
	ok := true
	switch c.Type {
	case Linear:
		ok = n >= 2
	case Rational:
		ok = n >= 6
	case Algebraic:
		return c.compileFormula(off)
	case TableInterpolated, TableNearest:
		ok = n >= 2 && n%2 == 0
	case RangeToValue:
		ok = n >= 4 && n%3 == 1
	case ValueToText:
		ok = r == n+1 || r == n
	case RangeToText:
		ok = n%2 == 0 && (r == n/2+1 || r == n/2)
	case TextToValue:
		ok = n == r+1 || n == r
	case BitfieldText:
		ok = len(c.Masks) == r
	}
	if !ok {
		return corrupt(off, "##CC", "of type %d has %d values and %d references", c.Type, n+len(c.Masks), r)
	}
	c.classify()
	c.indexTables()
	return nil
}

func (c *Conversion) compileFormula(off int64) error {
	if len(c.Refs) == 0 || c.Refs[0].Nil {
		return corrupt(off, "##CC", "is algebraic without a formula")
	}
	c.Formula = c.Refs[0].Text
	p, err := parseFormula(c.Formula)
	if err != nil {
		return &FormatError{Offset: off, Block: "##CC", Msg: fmt.Sprintf("has formula %q", c.Formula), Err: err}
	}
	c.program = p
	return nil
}

// classify finds out whether the conversion yields texts, numbers, or both.
func (c *Conversion) classify() {
	switch c.Type {
	case ValueToText, RangeToText:
		c.hasText = true
		for _, r := range c.Refs {
			if r.Conversion != nil && (!r.Conversion.hasText || r.Conversion.hasNumbers) {
				c.hasNumbers = true
			}
		}
	case BitfieldText, TextToText:
		c.hasText = true
	}
	if c.Type == TextToValue || c.Type == TextToText {
		step := 1
		if c.Type == TextToText {
			step = 2
		}
		c.texts = map[string]int{}
		for i := 0; i+step <= len(c.Refs); i += step {
			if _, dup := c.texts[c.Refs[i].Text]; !dup {
				c.texts[c.Refs[i].Text] = i / step
			}
		}
	}
}

// takesText says that the raw value is a text.
func (c *Conversion) takesText() bool { return c.Type == TextToValue || c.Type == TextToText }

// GivesText says that the physical value is, at least for some raw values, a text.
func (c *Conversion) GivesText() bool { return c.hasText }

// Mixed says that some raw values give a text and others a number.
func (c *Conversion) Mixed() bool { return c.hasText && c.hasNumbers }

// Apply converts x in place. integers says that the raw values are integers, whose ranges include their upper
// bound. Conversions from or to texts leave x as it is, one that has an Err makes NaN of it.
func (c *Conversion) Apply(x []float64, integers bool) {
	if c.err != nil {
		for i := range x {
			x[i] = math.NaN()
		}
		return
	}
	switch c.Type {
	case Linear:
		a, b := c.Values[0], c.Values[1]
		for i, v := range x {
			x[i] = float64(v*b) + a // the conversion keeps the compiler from fusing both roundings
		}
	case Rational:
		for i, v := range x {
			x[i] = rational(v, c.Values)
		}
	case Algebraic:
		for i, v := range x {
			x[i] = c.program.eval(v)
		}
	case TableInterpolated:
		for i, v := range x {
			x[i] = interpolate(v, c.Values)
		}
	case TableNearest:
		for i, v := range x {
			x[i] = nearest(v, c.Values)
		}
	case RangeToValue:
		for i, v := range x {
			x[i] = c.rangeValue(v, integers)
		}
	}
}

func rational(x float64, p []float64) float64 {
	square := x * x
	num := float64(float64(p[0]*square)+float64(p[1]*x)) + p[2]
	den := float64(float64(p[3]*square)+float64(p[4]*x)) + p[5]
	return num / den
}

// upperPair returns the number of the first pair whose key is not below x; a NaN is below none.
func upperPair(x float64, t []float64) int {
	lo, hi := 0, len(t)/2
	for lo < hi {
		m := (lo + hi) / 2
		if t[2*m] < x {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// interpolate is TableInterpolated: linear between two keys, the outer values outside.
func interpolate(x float64, t []float64) float64 {
	i := upperPair(x, t)
	switch {
	case x != x:
		return x
	case i == len(t)/2:
		return t[len(t)-1]
	case i == 0 || t[2*i] == x:
		return t[2*i+1]
	}
	x0, y0, x1, y1 := t[2*i-2], t[2*i-1], t[2*i], t[2*i+1]
	slope := (y1 - y0) / (x1 - x0)
	return float64(slope*(x-x0)) + y0
}

// nearest is TableNearest.
func nearest(x float64, t []float64) float64 {
	i := upperPair(x, t)
	if i == len(t)/2 || i > 0 && math.Abs(x-t[2*i]) >= math.Abs(x-t[2*i-2]) {
		i--
	}
	return t[2*i+1]
}

// inRange tells whether x lies in [lower, upper], or [lower, upper) for floats (MDF 4.2, 5.14.5). A float range
// of one point holds that point: writers use it for single values.
func inRange(x, lower, upper float64, integers bool) bool {
	if integers {
		return lower <= x && x <= upper
	}
	return lower <= x && x < upper || lower == upper && x == lower
}

// row returns the number of the row of n that holds x in a range table of rows of the given width, n for none.
func (c *Conversion) row(x float64, integers bool, n, width int) int {
	if c.ranges != nil {
		return c.ranges.find(x, integers, n)
	}
	for i := range n {
		if inRange(x, c.Values[i*width], c.Values[i*width+1], integers) {
			return i
		}
	}
	return n
}

func (c *Conversion) rangeValue(x float64, integers bool) float64 {
	n := len(c.Values) / 3
	if i := c.row(x, integers, n, 3); i < n {
		return c.Values[3*i+2]
	}
	return c.Values[3*n]
}
