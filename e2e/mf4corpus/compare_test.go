package main

import (
	"bytes"
	"maps"
	"strings"
	"testing"
)

func channel(changes ...any) line {
	l := line{"type": "cn", "file": "a.mf4", "g": 0.0, "name": "x", "k": 0.0, "kind": "num", "n": 3.0, "raw_sha256": "aa", "raw_sum": 1.0,
		"phys": "num", "exact": true, "sha256": "bb", "first": 1.0, "last": 2.0, "sum": 3.0, "unit": "m"}
	for i := 0; i < len(changes); i += 2 {
		l[changes[i].(string)] = changes[i+1]
	}
	return l
}

func TestWhatCountsAsADifference(t *testing.T) {
	inexact := channel("exact", false)
	for name, tt := range map[string]struct {
		got, want line
		differs   string
	}{
		"same":                 {channel(), channel(), ""},
		"raw":                  {channel("raw_sha256", "ab"), channel(), "raw_sha256 is ab, want aa"},
		"exact hash":           {channel("sha256", "b"), channel(), "sha256"},
		"inexact hash":         {channel("sha256", "b"), inexact, ""},
		"inexact sum":          {channel("sum", 3.0000001), inexact, "sum"},
		"inexact sum, close":   {channel("sum", 3.0000000000001), inexact, ""},
		"exact first":          {channel("first", 1.0000000000001), channel(), "first"},
		"informative sum":      {channel("sum", 4.0, "raw_sum", 9.0), channel(), ""},
		"unit as XML":          {channel("unit", "<CNunit><TX>m</TX></CNunit>"), channel(), ""},
		"unit":                 {channel("unit", "km"), channel(), "unit"},
		"mixed":                {channel("sha256", "b"), channel("phys", "mixed"), ""},
		"mixed, raw":           {channel("raw_first", 2.0), channel("phys", "mixed"), "raw_first"},
		"library has failed":   {channel(), line{"type": "cn", "kind": "error"}, ""},
		"key absent":           {channel("invalid", 3.0), channel(), "invalid is 3, want absent"},
		"name":                 {channel("name", "y"), channel(), "name"},
		"values' group cycles": {line{"channels": 0.0, "cycles": 1.0}, line{"channels": 0.0, "cycles": 2.0}, ""},
		"cycles":               {line{"channels": 1.0, "cycles": 1.0}, line{"channels": 1.0, "cycles": 2.0}, "cycles"},
	} {
		var out bytes.Buffer
		r := &report{w: &out}
		r.compareFile("a.mf4", []line{tt.got}, []line{tt.want})
		if (tt.differs == "") != (r.differences == 0) || !strings.Contains(out.String(), tt.differs) {
			t.Errorf("%s: %s", name, out.String())
		}
	}
	var out bytes.Buffer
	r := &report{w: &out}
	r.compareFile("a.mf4", []line{channel(), channel()}, []line{channel()})
	r.compareFile("a.mf4", nil, []line{channel()})
	if r.differences != 2 || r.channels != 2 {
		t.Errorf("lines too many and too few: %s", out.String())
	}
}

func TestSignalsOfOneMessageNameAreToldApart(t *testing.T) {
	want := line{"message": "SourceAddress = 0x0", "signal": "Speed", "n": 2.0, "sha256": "a", "dbc": "x.dbc"}
	other := maps.Clone(want)
	other["sha256"] = "b"
	var out bytes.Buffer
	r := &report{w: &out}
	r.compareSignal("f", []line{other, want}, want)
	if r.differences != 0 {
		t.Error(out.String())
	}
	r.compareSignal("f", []line{other}, want)
	r.compareSignal("f", nil, want)
	if r.differences != 2 || !strings.Contains(out.String(), "sha256 is b, want a") || !strings.Contains(out.String(), "is missing") {
		t.Error(out.String())
	}
}
