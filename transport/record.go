package transport

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/milepost-dev/milepost/schemas"
)

// Headers of a record beside those of CloudEvents. They are the same on every broker.
const (
	// HeaderContentType is the CloudEvents attribute datacontenttype in binary content mode.
	HeaderContentType = "content-type"
	// HeaderCursor holds what a record says beside its event: the Cursor of a dead letter, control or out event, or all of
	// a Checkpoint but its pages and snapshot; JSON. It is missing where HeaderCursorBytes stands.
	HeaderCursor = "mp-cursor"
	// HeaderCursorBytes says how many bytes at the end of the body hold that JSON, where it is too long for a header.
	HeaderCursorBytes = "mp-cursor-bytes"
)

// maxCursorHeader is the longest HeaderCursor: a NATS server takes 64 KiB for all headers of a message.
const maxCursorHeader = 16 << 10

// checkpointHeader is a checkpoint's HeaderCursor. The body is the hashes of its pages one after another, 32 bytes each,
// then the snapshot.
type checkpointHeader struct {
	Cursor    schemas.Cursor `json:"cursor"`
	Out       uint64         `json:"out"`
	OutBytes  uint64         `json:"out_bytes"`
	Pages     int            `json:"pages,omitempty"`
	InputHash []byte         `json:"input_hash,omitempty"`
	Inputs    uint64         `json:"inputs"`
	Progress  float64        `json:"progress,omitempty"`
}

// A Prefix makes header names of attributes' names.
type Prefix struct {
	text  string
	names map[string]string // of every attribute that events have: to join two strings for each took longer than all else
}

// NewPrefix is what a broker's CloudEvents binding has before attribute names: "ce-" on NATS, "ce_" on Kafka.
func NewPrefix(text string) Prefix {
	p := Prefix{text, map[string]string{}}
	for _, name := range []string{schemas.AttrSpecVersion, schemas.AttrID, schemas.AttrSource, schemas.AttrType, schemas.AttrSubject, schemas.AttrDataSchema,
		schemas.AttrTime, schemas.ExtSequence, schemas.ExtPartitionKey, schemas.ExtTraceParent, schemas.ExtTables, schemas.ExtDataRef} {
		p.names[name] = text + name
	}
	return p
}

func (p Prefix) header(attribute string) string {
	if name, ok := p.names[attribute]; ok {
		return name
	}
	return p.text + attribute
}

// Encode writes the record as a message: headers through put, in a fixed order, and the body it returns. An event is a
// CloudEvent in binary content mode, prefix standing before its attributes' names; a page is its data alone. The body shares
// the event's memory where it can.
func (r *Record) Encode(prefix Prefix, put func(name, value string)) ([]byte, error) {
	if r.Kind == Page {
		return r.Page.Data, nil
	}
	r.Event.Attributes(func(name, value string) {
		if name == schemas.AttrContentType {
			put(HeaderContentType, headerValue(name, value))
		} else {
			put(prefix.header(name), headerValue(name, value))
		}
	})
	if r.Cursor == nil {
		return r.Event.Data, nil
	}
	return putCursor(r.Cursor, r.Event.Data, put)
}

// headerValue encodes what would not survive in a header. The subject is encoded already; a content type may have spaces
// and a reference has its own escapes, and Check has seen that both are plain.
func headerValue(name, value string) string {
	switch name {
	case schemas.AttrSubject, schemas.AttrContentType, schemas.ExtDataRef:
		return value
	}
	return schemas.EncodeAttribute(value)
}

// Encode writes the checkpoint as a message, as Record.Encode does.
func (c *Checkpoint) Encode(put func(name, value string)) ([]byte, error) {
	body := make([]byte, 0, len(c.Pages)*len(PageHash{})+len(c.Snapshot))
	for _, h := range c.Pages {
		body = append(body, h[:]...)
	}
	body = append(body, c.Snapshot...)
	return putCursor(checkpointHeader{c.Cursor, c.Out, c.OutBytes, len(c.Pages), c.InputHash, c.Inputs, c.Progress}, body, put)
}

func putCursor(cursor any, body []byte, put func(name, value string)) ([]byte, error) {
	text, err := json.Marshal(cursor)
	if err != nil {
		return nil, fmt.Errorf("encode cursor: %w", err)
	}
	if len(text) <= maxCursorHeader {
		put(HeaderCursor, string(text))
		return body, nil
	}
	put(HeaderCursorBytes, strconv.Itoa(len(text)))
	return append(body[:len(body):len(body)], text...), nil
}

// Over says whether the record is a control behind which a chain never goes on: its end, or that it was cancelled. The event's data
// must be there.
func (s *Stored) Over() bool {
	var c schemas.Control
	if s.Kind != Control || json.Unmarshal(s.Event.Data, &c) != nil {
		return false
	}
	return c.Kind == schemas.ControlEnd || c.Kind == schemas.ControlCancel
}

// A Message is a record as a broker hands it back.
type Message struct {
	Chain    schemas.ChainID // from where the message lay
	Pipeline string
	Kind     Kind
	Header   func(name string) string // "" for one that is absent
	Body     []byte
	Size     int  // of the body, also where only headers were asked for
	Headers  bool // only headers were asked for; Body is empty
}

// Decode undoes Encode; Position and At are left to the caller. The event's data shares the body's memory. An event that
// says it is of another chain than the message's place is an error, as is one that breaks CloudEvents. Where only headers
// were asked for and the cursor is not among them, ErrNeedsBody.
func (m *Message) Decode(prefix Prefix) (Stored, error) {
	s := Stored{Chain: m.Chain, Kind: m.Kind, Bytes: m.Size}
	s.Event.Chain, s.Event.Pipeline = m.Chain, m.Pipeline
	if m.Kind == Page {
		return s, nil
	}
	body, cursor, err := m.split(&s)
	if err != nil {
		return s, err
	}
	if m.Kind == Snapshot {
		return s, m.decodeCheckpoint(&s, body, cursor)
	}
	if s.Event, err = schemas.ParseAttributes(m.attribute(prefix)); err != nil {
		return s, err
	}
	if s.Event.Chain != m.Chain {
		return s, fmt.Errorf("event %s lies in chain %s", s.Event.ID(), m.Chain)
	}
	s.Event.Data = body
	if len(cursor) == 0 {
		return s, nil
	}
	s.Cursor = &schemas.Cursor{}
	if err := json.Unmarshal(cursor, s.Cursor); err != nil {
		return s, fmt.Errorf("event %s: cursor: %w", s.Event.ID(), err)
	}
	return s, nil
}

// attribute is where ParseAttributes looks.
func (m *Message) attribute(prefix Prefix) func(name string) string {
	return func(name string) string {
		switch name {
		case schemas.AttrContentType:
			return m.Header(HeaderContentType)
		case schemas.AttrSubject, schemas.ExtDataRef: // ParseAttributes decodes the subject
			return m.Header(prefix.header(name))
		}
		return schemas.DecodeAttribute(m.Header(prefix.header(name)))
	}
}

// split takes the cursor off the body's end, or out of its header.
func (m *Message) split(s *Stored) (body, cursor []byte, err error) {
	text := m.Header(HeaderCursorBytes)
	if text == "" {
		return m.Body, []byte(m.Header(HeaderCursor)), nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > m.Size {
		return nil, nil, fmt.Errorf("record of %s: %s is %q in %d bytes", m.Chain, HeaderCursorBytes, text, m.Size)
	}
	s.Bytes -= n
	if m.Headers {
		return nil, nil, ErrNeedsBody
	}
	if n > len(m.Body) {
		return nil, nil, fmt.Errorf("record of %s: %d bytes of cursor in %d", m.Chain, n, len(m.Body))
	}
	at := len(m.Body) - n
	return m.Body[:at:at], m.Body[at:], nil
}

func (m *Message) decodeCheckpoint(s *Stored, body, cursor []byte) error {
	var h checkpointHeader
	if err := json.Unmarshal(cursor, &h); err != nil {
		return fmt.Errorf("checkpoint of %s: %w", m.Chain, err)
	}
	c := &Checkpoint{Cursor: h.Cursor, Out: h.Out, OutBytes: h.OutBytes, InputHash: h.InputHash, Inputs: h.Inputs, Progress: h.Progress}
	s.Checkpoint, s.Cursor = c, &c.Cursor
	if m.Headers {
		return nil
	}
	if h.Pages < 0 || h.Pages > len(body)/len(PageHash{}) {
		return fmt.Errorf("checkpoint of %s: %d pages in %d bytes", m.Chain, h.Pages, len(body))
	}
	for range h.Pages {
		c.Pages = append(c.Pages, PageHash(body))
		body = body[len(PageHash{}):]
	}
	if len(body) > 0 {
		c.Snapshot = body
	}
	return nil
}
