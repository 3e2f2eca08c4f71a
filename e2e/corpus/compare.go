package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// A float is equal within relative of the expected one, or absolute where that is next to nothing.
const (
	relative = 1e-6
	absolute = 1e-9
)

// compareJSON lists every difference of two documents, each with its path. A number that is expected as an integer (a count, a
// time) must be equal; one with a point or an exponent is a float.
func compareJSON(got, want []byte) []string {
	g, err := decode(got)
	if err != nil {
		return []string{"the result is no JSON document: " + err.Error()}
	}
	w, err := decode(want)
	if err != nil {
		return []string{"the expected file is no JSON document: " + err.Error()}
	}
	var d differences
	d.value("$", g, w)
	return d
}

func decode(data []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows it at offset %d", d.InputOffset())
	}
	return v, nil
}

type differences []string

func (d *differences) add(path, format string, args ...any) {
	*d = append(*d, path+": "+fmt.Sprintf(format, args...))
}

func (d *differences) value(path string, got, want any) {
	switch w := want.(type) {
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			d.object(path, g, w)
			return
		}
	case []any:
		if g, ok := got.([]any); ok {
			d.list(path, g, w)
			return
		}
	case json.Number:
		if g, ok := got.(json.Number); ok {
			if !sameNumber(g, w) {
				d.add(path, "is %s, expected %s", g, w)
			}
			return
		}
	default:
		if got == want {
			return
		}
	}
	d.add(path, "is %s, expected %s", text(got), text(want))
}

func (d *differences) object(path string, got, want map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		at := path + "." + key
		if strings.ContainsAny(key, ". []") || key == "" {
			at = path + "[" + strconv.Quote(key) + "]"
		}
		if g, ok := got[key]; ok {
			d.value(at, g, want[key])
		} else {
			d.add(at, "is missing, expected %s", text(want[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			d.add(path+"."+key, "is %s, and not expected", text(got[key]))
		}
	}
}

func (d *differences) list(path string, got, want []any) {
	if len(got) != len(want) {
		d.add(path, "has %d elements, expected %d", len(got), len(want))
	}
	for k := range min(len(got), len(want)) {
		d.value(fmt.Sprintf("%s[%d]", path, k), got[k], want[k])
	}
}

func sameNumber(got, want json.Number) bool {
	if !strings.ContainsAny(want.String(), ".eE") {
		g, ok := new(big.Rat).SetString(got.String())
		w, fine := new(big.Rat).SetString(want.String())
		return ok && fine && g.Cmp(w) == 0
	}
	g, err := got.Float64()
	w, wrong := want.Float64()
	return err == nil && wrong == nil && math.Abs(g-w) <= max(absolute, relative*math.Abs(w))
}

// text is a value in few words.
func text(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return fmt.Sprintf("an object of %d keys", len(v))
	case []any:
		return fmt.Sprintf("a list of %d", len(v))
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
