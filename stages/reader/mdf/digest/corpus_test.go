//go:build corpus

package digest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"testing"

	"github.com/milepost-dev/milepost/stages/reader/mdf/digest"
)

// informative keys are not compared (README of the corpus).
var informative = []string{"bits", "by", "overridden", "error", "acq_name", "exact"}

func TestDigestsOfTheCorpusAgree(t *testing.T) {
	dir := os.Getenv("MF4")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "..", "shared", "mf4")
	}
	b, err := os.ReadFile(filepath.Join(dir, "reference.jsonl"))
	if err != nil {
		t.Fatalf("the reference is missing, set MF4: %v", err)
	}
	want := map[string][]map[string]any{}
	for _, l := range lines(t, b) {
		name := l["file"].(string)
		want[name] = append(want[name], l)
	}
	names := []string{}
	for name := range want {
		names = append(names, name)
	}
	sort.Strings(names)
	if len(names) < 30 {
		t.Fatalf("%d files in the reference", len(names))
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := digest.File(t.Context(), &out, filepath.Join(dir, name), name); err != nil {
				t.Fatal(err)
			}
			compare(t, lines(t, out.Bytes()), want[name])
		})
	}
}

func lines(t *testing.T, b []byte) (out []map[string]any) {
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var l map[string]any
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

func compare(t *testing.T, got, want []map[string]any) {
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d", len(got), len(want))
	}
	for i, w := range want {
		if w["kind"] == "error" || w["phys"] == "mixed" && got[i]["phys"] == "mixed" {
			continue
		}
		for _, key := range keys(got[i], w) {
			if !same(key, got[i][key], w[key], w) {
				t.Errorf("line %d %v/%v/%v: %s is %v, want %v", i, w["g"], w["name"], w["k"], key, got[i][key], w[key])
			}
		}
	}
}

func keys(a, b map[string]any) (out []string) {
	for k := range a {
		out = append(out, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			out = append(out, k)
		}
	}
	sort.Strings(out)
	return out
}

func same(key string, got, want any, line map[string]any) bool {
	if slices.Contains(informative, key) || key == "sha256" && line["exact"] == false {
		return true
	}
	if key == "cycles" && line["channels"] == 0.0 {
		return true
	}
	a, ok1 := got.(float64)
	b, ok2 := want.(float64)
	if ok1 && ok2 {
		return a == b || math.Abs(a-b) <= 1e-9*math.Abs(b)
	}
	return fmt.Sprint(got) == fmt.Sprint(want)
}
