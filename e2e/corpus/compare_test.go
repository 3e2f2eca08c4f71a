package main

import (
	"slices"
	"testing"
)

func TestCompareJSON(t *testing.T) {
	for name, c := range map[string]struct {
		got, want string
		diffs     []string
	}{
		"equal":                     {`{"a": [1, "x", null, true, 2.5]}`, `{"a":[1,"x",null,true,2.5]}`, nil},
		"a float within 1e-6":       {`1.0000009`, `1.0`, nil},
		"a float beyond 1e-6":       {`1.0000011`, `1.0`, []string{"$: is 1.0000011, expected 1.0"}},
		"a small float within 1e-9": {`0.0000000009`, `0.0`, nil},
		"a small float beyond 1e-9": {`0.0000000011`, `0.0`, []string{"$: is 0.0000000011, expected 0.0"}},
		"a float written otherwise": {`3`, `3.0`, nil},
		"a count off by one":        {`{"n": 1000000001}`, `{"n": 1000000000}`, []string{"$.n: is 1000000001, expected 1000000000"}},
		"a count of the same value": {`5.0`, `5`, nil},
		"a time beyond 2^53":        {`9007199254740993`, `9007199254740992`, []string{"$: is 9007199254740993, expected 9007199254740992"}},
		"null for a number":         {`null`, `1.0`, []string{"$: is null, expected 1.0"}},
		"a number for null":         {`1.0`, `null`, []string{"$: is 1.0, expected null"}},
		"a string":                  {`{"v":"a"}`, `{"v":"b"}`, []string{`$.v: is "a", expected "b"`}},
		"true for 1":                {`true`, `1`, []string{"$: is true, expected 1"}},
		"keys":                      {`{"a":1,"c":2}`, `{"a":1,"b":{}}`, []string{"$.b: is missing, expected an object of 0 keys", "$.c: is 2, and not expected"}},
		"a null that is missing":    {`{}`, `{"a":null}`, []string{"$.a: is missing, expected null"}},
		"a list's length":           {`[1]`, `[1,2]`, []string{"$: has 1 elements, expected 2"}},
		"deep":                      {`{"a":[{"b":1}]}`, `{"a":[{"b":2}]}`, []string{"$.a[0].b: is 1, expected 2"}},
		"a list for an object":      {`[]`, `{}`, []string{"$: is a list of 0, expected an object of 0 keys"}},
		"trailing bytes":            {`{} {}`, `{}`, []string{"the result is no JSON document: something follows it at offset 4"}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := compareJSON([]byte(c.got), []byte(c.want)); !slices.Equal(d, c.diffs) {
				t.Errorf("%q, want %q", d, c.diffs)
			}
		})
	}
}
