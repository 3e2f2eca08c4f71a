package dbc

import "math"

// Payloads is a column of frame payloads: payload i is Data[Ends[i-1]:Ends[i]], with Ends[-1] = 0.
type Payloads struct {
	Data []byte
	Ends []int
}

// Append adds a copy of one payload.
func (p *Payloads) Append(payload []byte) {
	p.Data = append(p.Data, payload...)
	p.Ends = append(p.Ends, len(p.Data))
}

// Reset forgets the payloads and keeps the memory.
func (p *Payloads) Reset() { p.Data, p.Ends = p.Data[:0], p.Ends[:0] }

// Len returns the number of payloads.
func (p *Payloads) Len() int { return len(p.Ends) }

// At returns payload i, valid until the next Append or Reset.
func (p *Payloads) At(i int) []byte {
	from := 0
	if i > 0 {
		from = p.Ends[i-1]
	}
	return p.Data[from:p.Ends[i]]
}

// AppendColumn decodes the signal from every payload and appends the values to dst and to ok whether each is there;
// where it is not, the value is NaN. It allocates only to grow dst and ok.
func (s *Signal) AppendColumn(dst []float64, ok []bool, p *Payloads) ([]float64, []bool) {
	from := 0
	for _, end := range p.Ends {
		v, there := s.Decode(p.Data[from:end])
		if !there {
			v = math.NaN()
		}
		dst, ok = append(dst, v), append(ok, there)
		from = end
	}
	return dst, ok
}

// Columns holds decoded values, one column a signal, all of the same length; its memory is used again by each call.
type Columns struct {
	Values [][]float64 // NaN where not Valid
	Valid  [][]bool
}

// DecodeColumns replaces the contents of c by the values of signals in every payload. signals is usually m.Signals; any
// signals of the message in any order do.
func (m *Message) DecodeColumns(c *Columns, signals []*Signal, p *Payloads) {
	c.resize(len(signals))
	for i, s := range signals {
		c.Values[i], c.Valid[i] = s.AppendColumn(c.Values[i][:0], c.Valid[i][:0], p)
	}
}

func (c *Columns) resize(n int) {
	for len(c.Values) < n {
		c.Values, c.Valid = append(c.Values, nil), append(c.Valid, nil)
	}
	c.Values, c.Valid = c.Values[:n], c.Valid[:n]
}
