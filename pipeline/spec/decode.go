package spec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/milepost-dev/milepost/pipeline"
)

// A decoder puts nodes into Go values by the tags of package pipeline. It goes on after a fault, so that all are found; what
// a faulty node was meant for keeps its default.
type decoder struct {
	l     *loader
	where string   // what the tree belongs to, for messages: "stage aeb-replay/aeb"
	path  []string // keys from there
}

// decode puts n into v, which holds the default and must be settable. Slices and maps are replaced, never written into, as
// they may be shared with the default of a stage type.
func (d *decoder) decode(n *node, v reflect.Value) {
	switch {
	case v.Type() == nodeType:
		v.Set(reflect.ValueOf(n))
		return
	case n.broken || n.null():
		return
	case v.Kind() == reflect.Pointer:
		d.pointer(n, v)
		return
	case v.Type() == durationType:
		d.duration(n, v)
		return
	case v.Type() == rawType:
		d.raw(n, v)
		return
	case n.scalar() && takesText(v.Type()):
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.text)); err != nil {
			d.refuse(n, err.Error())
		}
		return
	}
	d.byKind(n, v)
}

func (d *decoder) byKind(n *node, v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		d.boolean(n, v)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		d.integer(n, v)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		d.unsigned(n, v)
	case reflect.Float32, reflect.Float64:
		d.float(n, v)
	case reflect.String:
		d.text(n, v)
	case reflect.Slice:
		d.slice(n, v)
	case reflect.Array:
		d.array(n, v)
	case reflect.Map:
		d.mapping(n, v)
	case reflect.Struct:
		d.structure(n, v)
	case reflect.Interface:
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(n.native()))
			return
		}
		fallthrough
	default:
		d.refuse(n, fmt.Sprintf("the stage type declares this field as %s, which YAML cannot fill", v.Type()))
	}
}

// refuse reports a value; what says what is wanted instead.
func (d *decoder) refuse(n *node, what string) *Problem {
	p := d.l.report(n.pos, CodeValue, "%s: %s; have %s", d.subject(), what, n.show())
	n.broken = true
	return p
}

// subject is the path and what it lies in: `"with.window" of stage p/s`.
func (d *decoder) subject() string {
	if len(d.path) == 0 {
		return d.where
	}
	return fmt.Sprintf("%q of %s", strings.Join(d.path, "."), d.where)
}

// in decodes below one more step of the path.
func (d *decoder) in(step string, n *node, v reflect.Value) {
	d.path = append(d.path, step)
	d.decode(n, v)
	d.path = d.path[:len(d.path)-1]
}

func (d *decoder) pointer(n *node, v reflect.Value) {
	fresh := reflect.New(v.Type().Elem())
	if !v.IsNil() {
		fresh.Elem().Set(v.Elem())
	}
	d.decode(n, fresh.Elem())
	v.Set(fresh)
}

func (d *decoder) duration(n *node, v reflect.Value) {
	text := n.text
	if !n.scalar() || n.quoted && text == "" {
		d.refuse(n, errDuration.Error())
		return
	}
	t, err := ParseDuration(text)
	if err == nil {
		v.SetInt(int64(t))
		return
	}
	if p := d.refuse(n, err.Error()); n.kind == intKind && !n.secret {
		p.Meant = text + "s"
	}
}

func (d *decoder) raw(n *node, v reflect.Value) {
	data, err := json.Marshal(n.native())
	if err != nil {
		d.refuse(n, "want what JSON can hold")
		return
	}
	v.SetBytes(data)
}

// readAs says whether n may be read as a scalar of kind k: it is one, or a variable stood for it.
func (n *node) readAs(ks ...kind) bool {
	if n.variable {
		return slices.Contains(ks, plainKind(n.text))
	}
	return !n.quoted && slices.Contains(ks, n.kind)
}

func (d *decoder) boolean(n *node, v reflect.Value) {
	if !n.readAs(boolKind) {
		d.refuse(n, "want true or false")
		return
	}
	v.SetBool(n.text[0] == 't' || n.text[0] == 'T')
}

func (d *decoder) integer(n *node, v reflect.Value) {
	i, err := parseInt(n.text, v.Type().Bits())
	switch {
	case !n.readAs(intKind):
		d.refuse(n, "want a whole number")
	case err != nil:
		d.refuse(n, fmt.Sprintf("want a number of %d bits", v.Type().Bits()))
	default:
		v.SetInt(i)
	}
}

func (d *decoder) unsigned(n *node, v reflect.Value) {
	i, err := parseInt(n.text, 64)
	u := uint64(i)
	if err != nil {
		u, err = strconv.ParseUint(n.text, 10, 64)
	}
	switch {
	case !n.readAs(intKind):
		d.refuse(n, "want a whole number")
	case i < 0 || err != nil || v.OverflowUint(u):
		d.refuse(n, fmt.Sprintf("want a number from 0 to %d", uint64(math.MaxUint64)>>(64-v.Type().Bits())))
	default:
		v.SetUint(u)
	}
}

func (d *decoder) float(n *node, v reflect.Value) {
	f, err := parseFloat(n.text)
	if n.readAs(intKind) {
		if i, wide := parseInt(n.text, 64); wide == nil {
			f, err = float64(i), nil
		}
	}
	switch {
	case !n.readAs(intKind, floatKind):
		d.refuse(n, "want a number")
	case err != nil || v.OverflowFloat(f) && !math.IsInf(f, 0):
		d.refuse(n, "want a number that fits")
	default:
		v.SetFloat(f)
	}
}

func (d *decoder) text(n *node, v reflect.Value) {
	if n.kind == stringKind {
		v.SetString(n.text)
		return
	}
	if p := d.refuse(n, "want a string"); n.scalar() && !n.secret {
		p.Hint = "quote it: " + strconv.Quote(n.text)
	}
}

func (d *decoder) slice(n *node, v reflect.Value) {
	if n.kind != listKind {
		if p := d.refuse(n, "want a list"); n.scalar() && !n.secret {
			p.Hint = "write [" + shorten(n.text, 40) + "]"
		}
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		d.item(i, item, list.Index(i))
	}
	v.Set(list)
}

func (d *decoder) array(n *node, v reflect.Value) {
	if n.kind != listKind || len(n.items) != v.Len() {
		d.refuse(n, fmt.Sprintf("want a list of %d", v.Len()))
		return
	}
	for i, item := range n.items {
		d.item(i, item, v.Index(i))
	}
}

func (d *decoder) item(i int, n *node, v reflect.Value) {
	if n.null() && v.Type() != nodeType && v.Kind() != reflect.Interface {
		d.l.report(n.pos, CodeValue, "%s: element %d of the list is empty", d.subject(), i)
		return
	}
	d.in(strconv.Itoa(i), n, v)
}

func (d *decoder) mapping(n *node, v reflect.Value) {
	if n.kind != mapKind || v.Type().Key().Kind() != reflect.String {
		d.refuse(n, "want a mapping")
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(n.fields))
	for _, f := range n.fields {
		value, n := reflect.New(v.Type().Elem()).Elem(), f.value
		if n.null() && !n.broken && value.Kind() == reflect.Struct {
			n = &node{pos: n.pos, kind: mapKind} // so that required fields are asked for
		}
		d.in(f.key.text, n, value)
		m.SetMapIndex(reflect.ValueOf(f.key.text).Convert(v.Type().Key()), value)
	}
	v.Set(m)
}

func (d *decoder) structure(n *node, v reflect.Value) {
	fields := taggedFields(v.Type())
	if n.kind != mapKind {
		p := d.refuse(n, "want a mapping")
		p.Hint = has(fieldNames(fields))
		return
	}
	for _, f := range n.fields {
		i := slices.IndexFunc(fields, func(t tagged) bool { return t.name == f.key.text })
		if i < 0 {
			d.unknown(n, f, fields)
			continue
		}
		if fields[i].secret {
			f.value.hide()
		}
		d.in(f.key.text, f.value, v.FieldByIndex(fields[i].index))
		d.enum(f.value, fields[i])
		d.bounds(f.value, fields[i], v.FieldByIndex(fields[i].index))
	}
	for _, f := range fields {
		if got := n.get(f.name); f.required && got.null() && !slices.Contains(n.meant, f.name) {
			p := d.l.report(n.pos, CodeField, "missing field %q in %s", f.name, d.subject())
			p.Hint = f.doc
			n.meant = append(n.meant, f.name)
		}
	}
}

// unknown refuses a key of the mapping n.
func (d *decoder) unknown(n *node, f *field, fields []tagged) {
	n.unknown = true
	p := d.l.report(f.key.pos, CodeField, "unknown field %q in %s", f.key.text, d.subject())
	if p.Meant = pipeline.Nearest(f.key.text, fieldNames(fields)); p.Meant == "" {
		p.Hint = has(fieldNames(fields))
		return
	}
	n.meant = append(n.meant, p.Meant)
	meant := slices.IndexFunc(fields, func(t tagged) bool { return t.name == p.Meant })
	if fields[meant].secret {
		f.value.hide() // a misspelled password is one still, and this problem quotes its line
	}
}

func has(names []string) string {
	if len(names) == 0 {
		return "it has no fields"
	}
	return "it has: " + strings.Join(names, ", ")
}

func (d *decoder) enum(n *node, f tagged) {
	if f.enum == nil || n.broken || n.null() {
		return
	}
	for _, item := range append([]*node{n}, n.items...) {
		if item.scalar() && !item.broken && !slices.Contains(f.enum, item.text) {
			d.path = append(d.path, f.name)
			p := d.refuse(item, "want "+orList(f.enum))
			d.path = d.path[:len(d.path)-1]
			if !item.secret {
				p.Meant = pipeline.Nearest(item.text, f.enum)
			}
		}
	}
}

// bounds checks the tags min and max of numbers.
func (d *decoder) bounds(n *node, f tagged, v reflect.Value) {
	if n.broken || n.null() || !v.CanConvert(floatType) || takesText(v.Type()) || v.Type() == durationType {
		return
	}
	x, want := v.Convert(floatType).Float(), ""
	if least, err := strconv.ParseFloat(f.min, 64); err == nil && !(x >= least) {
		want = "want " + f.min + " or more"
	}
	if most, err := strconv.ParseFloat(f.max, 64); err == nil && !(x <= most) {
		want = "want " + f.max + " or less"
	}
	if want != "" {
		d.path = append(d.path, f.name)
		d.refuse(n, want)
		d.path = d.path[:len(d.path)-1]
	}
}

// orList is "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
