// Package cloudevents carries CloudEvents in Kafka records of franz-go, as the Kafka protocol binding 1.0.2 says. It is the
// edge to the CloudEvents SDK, whose own binding is for another client; the driver's hot path does not go through it.
package cloudevents

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/format"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	prefix      = "ce_"
	contentType = "content-type"
)

var specs = spec.WithPrefix(prefix)

// A Message is a record read as a binding.Message, in binary or in structured content mode.
type Message struct {
	record  *kgo.Record
	format  format.Format
	version spec.Version
}

var (
	_ binding.Message               = (*Message)(nil)
	_ binding.MessageMetadataReader = (*Message)(nil)
)

// NewMessage wraps a record, which must not be changed while the Message is used.
func NewMessage(r *kgo.Record) *Message {
	m := &Message{record: r}
	if kind := m.header(contentType); format.IsFormat(kind) {
		m.format = format.Lookup(kind)
	} else if v := m.header(specs.PrefixedSpecVersionName()); v != "" {
		m.version = specs.Version(v)
	}
	return m
}

func (m *Message) header(name string) string {
	for _, h := range m.record.Headers {
		if strings.EqualFold(h.Key, name) {
			return string(h.Value)
		}
	}
	return ""
}

// ReadEncoding says which content mode the record is in; EncodingUnknown when it is no CloudEvent.
func (m *Message) ReadEncoding() binding.Encoding {
	switch {
	case m.version != nil:
		return binding.EncodingBinary
	case m.format != nil:
		return binding.EncodingStructured
	}
	return binding.EncodingUnknown
}

// ReadStructured is binding.MessageReader.ReadStructured.
func (m *Message) ReadStructured(ctx context.Context, to binding.StructuredWriter) error {
	if m.format == nil {
		return binding.ErrNotStructured
	}
	return to.SetStructuredEvent(ctx, m.format, bytes.NewReader(m.record.Value))
}

// ReadBinary is binding.MessageReader.ReadBinary.
func (m *Message) ReadBinary(_ context.Context, to binding.BinaryWriter) error {
	if m.version == nil {
		return binding.ErrNotBinary
	}
	for _, h := range m.record.Headers {
		name, value := strings.ToLower(h.Key), string(h.Value)
		var err error
		switch {
		case name == contentType:
			err = to.SetAttribute(m.version.AttributeFromKind(spec.DataContentType), value)
		case strings.HasPrefix(name, prefix):
			if a := m.version.Attribute(name); a != nil {
				err = to.SetAttribute(a, value)
			} else {
				err = to.SetExtension(strings.TrimPrefix(name, prefix), value)
			}
		}
		if err != nil {
			return fmt.Errorf("header %s of record %d: %w", h.Key, m.record.Offset, err)
		}
	}
	if len(m.record.Value) == 0 {
		return nil
	}
	return to.SetData(bytes.NewReader(m.record.Value))
}

// GetAttribute is binding.MessageMetadataReader.GetAttribute.
func (m *Message) GetAttribute(k spec.Kind) (spec.Attribute, any) {
	if m.version == nil {
		return nil, nil
	}
	a := m.version.AttributeFromKind(k)
	if a == nil {
		return nil, nil
	}
	name := a.PrefixedName()
	if k == spec.DataContentType {
		name = contentType
	}
	if v := m.header(name); v != "" {
		return a, v
	}
	return a, nil
}

// GetExtension is binding.MessageMetadataReader.GetExtension.
func (m *Message) GetExtension(name string) any {
	if v := m.header(prefix + name); v != "" {
		return v
	}
	return nil
}

// Finish does nothing: what is done with a record is its consumer's business.
func (m *Message) Finish(error) error { return nil }

// WriteRecord writes a message, of whatever binding, into a record: its headers, its value, and its key if the event has a
// partition key (extension partitionkey).
func WriteRecord(ctx context.Context, m binding.Message, r *kgo.Record, transformers ...binding.Transformer) error {
	w := &writer{record: r}
	_, err := binding.Write(ctx, m, w, w, transformers...)
	return err
}

// writer fills a record.
type writer struct{ record *kgo.Record }

func (w *writer) set(name, value string) {
	w.record.Headers = append(w.record.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
}

// SetStructuredEvent is binding.StructuredWriter.
func (w *writer) SetStructuredEvent(_ context.Context, f format.Format, event io.Reader) (err error) {
	w.record.Headers = nil
	w.set(contentType, f.MediaType())
	w.record.Value, err = io.ReadAll(event)
	return err
}

// Start is binding.BinaryWriter.
func (w *writer) Start(context.Context) error {
	w.record.Headers, w.record.Value = nil, nil
	return nil
}

// SetAttribute is binding.BinaryWriter.
func (w *writer) SetAttribute(a spec.Attribute, value any) error {
	if value == nil {
		return nil
	}
	text, err := types.Format(value)
	if err != nil {
		return err
	}
	if a.Kind() == spec.DataContentType {
		w.set(contentType, text)
	} else {
		w.set(prefix+a.Name(), text)
	}
	return nil
}

// SetExtension is binding.BinaryWriter.
func (w *writer) SetExtension(name string, value any) error {
	if value == nil {
		return nil
	}
	text, err := types.Format(value)
	if err != nil {
		return err
	}
	if name == "partitionkey" {
		w.record.Key = []byte(text)
	}
	w.set(prefix+name, text)
	return nil
}

// SetData is binding.BinaryWriter.
func (w *writer) SetData(data io.Reader) (err error) {
	w.record.Value, err = io.ReadAll(data)
	return err
}

// End is binding.BinaryWriter.
func (w *writer) End(context.Context) error { return nil }
