package spec

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// masked is what stands for a secret.
const masked = "***"

// An encoder makes a tree of a configuration value: the inverse of decoder. Secrets become ***.
type encoder struct {
	identity bool // leave out what cannot change an output, and everything that is zero
}

// encode makes a node of v. in is what the file said, nil if nothing, and tells what is secret; def is what the field would be
// if the file said nothing, the zero Value if that is not known. It returns nil for what need not be written.
func (e encoder) encode(v reflect.Value, in *node, def reflect.Value) *node {
	switch {
	case in != nil && in.secret && in.scalar() && !in.null():
		return text(masked)
	case v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface:
		if v.IsNil() {
			return nil
		}
		if v.Kind() == reflect.Interface && in != nil {
			return plain(in)
		}
		if def.IsValid() && !def.IsNil() {
			return e.encode(v.Elem(), in, def.Elem())
		}
		return e.encode(v.Elem(), in, reflect.Value{})
	case v.Type() == durationType && v.Int() == 0:
		return &node{kind: intKind, text: "0"}
	case v.Type() == durationType:
		return text(FormatDuration(time.Duration(v.Int())))
	case v.Type() == rawType:
		return e.raw(v.Bytes(), in)
	case v.Type().Implements(textMarshaler) || v.CanAddr() && v.Addr().Type().Implements(textMarshaler):
		return marshalled(v)
	case describedWhole(v.Type()) && v.Kind() != reflect.Slice && in != nil && in.scalar() && (!e.identity || opaque(v.Type())):
		return text(in.text)
	case takesText(v.Type()) && opaque(v.Type()):
		return text(fmt.Sprint(v.Interface()))
	}
	return e.byKind(v, in, def)
}

// opaque says whether a type keeps what it was given in fields that nobody else sees.
func opaque(t reflect.Type) bool { return t.Kind() == reflect.Struct && len(taggedFields(t)) == 0 }

func marshalled(v reflect.Value) *node {
	m, ok := v.Interface().(encoding.TextMarshaler)
	if !ok {
		m = v.Addr().Interface().(encoding.TextMarshaler)
	}
	data, err := m.MarshalText()
	if err != nil {
		return text("cannot be written: " + err.Error())
	}
	return text(string(data))
}

func (e encoder) raw(data []byte, in *node) *node {
	if in != nil {
		return plain(in)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if len(data) == 0 || dec.Decode(&v) != nil {
		return nil
	}
	return e.encode(reflect.ValueOf(&v).Elem(), nil, reflect.Value{})
}

func (e encoder) byKind(v reflect.Value, in *node, def reflect.Value) *node {
	switch v.Kind() {
	case reflect.Bool:
		return &node{kind: boolKind, text: strconv.FormatBool(v.Bool())}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return &node{kind: intKind, text: strconv.FormatInt(v.Int(), 10)}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &node{kind: intKind, text: strconv.FormatUint(v.Uint(), 10)}
	case reflect.Float32, reflect.Float64:
		return &node{kind: floatKind, text: formatFloat(v.Float(), v.Type().Bits())}
	case reflect.Slice, reflect.Array:
		return e.list(v, in)
	case reflect.Map:
		return e.mapping(v, in)
	case reflect.Struct:
		return e.structure(v, in, def)
	case reflect.String:
		if n, ok := v.Interface().(json.Number); ok {
			return &node{kind: plainKind(n.String()), text: n.String()}
		}
		return text(v.String())
	}
	return nil
}

func text(s string) *node { return &node{kind: stringKind, text: s} }

// formatFloat is the shortest text that reads back as f.
func formatFloat(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return ".nan"
	case math.IsInf(f, 1):
		return ".inf"
	case math.IsInf(f, -1):
		return "-.inf"
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}

func (e encoder) list(v reflect.Value, in *node) *node {
	list := &node{kind: listKind}
	for i := range v.Len() {
		var item *node
		switch {
		case in != nil && in.kind == listKind && i < len(in.items):
			item = in.items[i]
		case in != nil && in.scalar():
			item = in // one value for a list
		}
		n := e.encode(v.Index(i), item, reflect.Value{})
		if n == nil {
			n = &node{}
		}
		list.items = append(list.items, n)
	}
	return list
}

func (e encoder) mapping(v reflect.Value, in *node) *node {
	m := &node{kind: mapKind}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, k := range keys {
		n := e.encode(v.MapIndex(k), in.get(k.String()), reflect.Value{})
		if n == nil {
			n = &node{}
		}
		m.fields = append(m.fields, &field{text(k.String()), n})
	}
	return m
}

func (e encoder) structure(v reflect.Value, in *node, def reflect.Value) *node {
	m := &node{kind: mapKind}
	for _, f := range taggedFields(v.Type()) {
		value, d := v.FieldByIndex(f.index), reflect.Value{}
		if def.IsValid() {
			d = def.FieldByIndex(f.index)
		}
		switch {
		case e.identity && (!f.identity || empty(value)):
			continue
		case empty(value) && (!d.IsValid() || empty(d)) && in.get(f.name).null() && !f.required:
			continue
		case f.secret:
			m.fields = append(m.fields, &field{text(f.name), text(masked)})
			continue
		}
		if n := e.encode(value, in.get(f.name), d); n != nil {
			m.fields = append(m.fields, &field{text(f.name), n})
		}
	}
	return m
}

func empty(v reflect.Value) bool {
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		return v.Len() == 0
	}
	return v.IsZero()
}

// plain is a tree without places, secrets masked, keys in order.
func plain(n *node) *node {
	if n.secret && n.scalar() && !n.null() {
		return text(masked)
	}
	c := &node{kind: n.kind, text: n.text, quoted: n.quoted}
	for _, i := range n.items {
		c.items = append(c.items, plain(i))
	}
	for _, f := range n.fields {
		c.fields = append(c.fields, &field{text(f.key.text), plain(f.value)})
	}
	slices.SortStableFunc(c.fields, func(a, b *field) int { return strings.Compare(a.key.text, b.key.text) })
	return c
}

// json writes the tree as JSON, keys in the order of the tree. Numbers that JSON cannot hold are strings.
func (n *node) json(b *bytes.Buffer) {
	switch n.kind {
	case listKind:
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.json(b)
		}
		b.WriteByte(']')
	case mapKind:
		b.WriteByte('{')
		for i, f := range n.fields {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, f.key.text)
			b.WriteByte(':')
			f.value.json(b)
		}
		b.WriteByte('}')
	default:
		writeJSON(b, n.jsonScalar())
	}
}

func (n *node) jsonScalar() any {
	if f, ok := n.native().(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return n.text
	}
	return n.native()
}

func writeJSON(b *bytes.Buffer, v any) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // strings, numbers and truth values alone come here
	}
	b.Truncate(b.Len() - 1)
}
