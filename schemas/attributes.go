package schemas

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Attributes calls yield with each CloudEvents attribute of the event, in a fixed order, names without a binding's prefix.
// AttrContentType is among them; bindings write it as their content-type header. CloudEvents 1.0.2, binary content mode.
func (e *Event) Attributes(yield func(name, value string)) {
	yield(AttrSpecVersion, SpecVersion)
	yield(AttrID, e.ID())
	yield(AttrSource, e.Source())
	yield(AttrType, e.Type)
	yield(AttrSubject, EncodeAttribute(e.Item))
	yield(AttrDataSchema, e.DataSchema())
	yield(ExtSequence, FormatSequence(e.Sequence))
	yield(ExtPartitionKey, string(e.Chain.Job))
	optional := func(name, value string) {
		if value != "" {
			yield(name, value)
		}
	}
	optional(AttrTime, FormatTime(e.Time))
	optional(AttrContentType, e.ContentType)
	optional(ExtTraceParent, e.TraceParent)
	optional(ExtDataRef, e.DataRef)
	if e.Tables > 0 {
		yield(ExtTables, strconv.Itoa(e.Tables))
	}
}

// ParseAttributes builds an event from its attributes; get returns "" for one that is absent. Data is left to the caller.
// An attribute that breaks the specification, or does not fit the id, is an error that names it.
func ParseAttributes(get func(name string) string) (Event, error) {
	var e Event
	if v := get(AttrSpecVersion); v != SpecVersion {
		return e, fmt.Errorf("event attribute %s is %q, not %q", AttrSpecVersion, v, SpecVersion)
	}
	var err error
	if e.Chain, e.Sequence, err = ParseEventID(get(AttrID)); err != nil {
		return e, err
	}
	source, ok := strings.CutPrefix(get(AttrSource), SourcePrefix)
	pipeline, found := strings.CutSuffix(source, "/"+e.Chain.Stage)
	if !ok || !found {
		return e, fmt.Errorf("event %s: source %q does not name stage %s", e.ID(), get(AttrSource), e.Chain.Stage)
	}
	e.Pipeline, e.Type, e.Item = pipeline, get(AttrType), DecodeAttribute(get(AttrSubject))
	e.ContentType, e.TraceParent, e.DataRef = get(AttrContentType), get(ExtTraceParent), get(ExtDataRef)
	if e.Type == "" {
		return e, fmt.Errorf("event %s has no type", e.ID())
	}
	if s := get(ExtSequence); s != FormatSequence(e.Sequence) {
		return e, fmt.Errorf("event %s: sequence %q differs from the id's", e.ID(), s)
	}
	return e, e.parseOptional(get(AttrTime), get(ExtTables))
}

func (e *Event) parseOptional(timestamp, tables string) (err error) {
	if timestamp != "" {
		if e.Time, err = time.Parse(time.RFC3339Nano, timestamp); err != nil {
			return fmt.Errorf("event %s: time: %w", e.ID(), err)
		}
	}
	if tables != "" {
		if e.Tables, err = strconv.Atoi(tables); err != nil || e.Tables < 1 {
			return fmt.Errorf("event %s: tables is %q, not a count", e.ID(), tables)
		}
	}
	return nil
}

// EncodeAttribute writes a string as a header value: percent-encoded outside printable ASCII, space, double quote and
// percent (CloudEvents HTTP binding 3.1.3.2, which the NATS and Kafka bindings leave open).
func EncodeAttribute(s string) string {
	if !needsEncoding(s) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// DecodeAttribute undoes EncodeAttribute; what is not a valid escape stays as it is.
func DecodeAttribute(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func needsEncoding(s string) bool {
	for i := range len(s) {
		if !plain(s[i]) {
			return true
		}
	}
	return false
}

func plain(c byte) bool { return c > 0x20 && c < 0x7f && c != '"' && c != '%' }
