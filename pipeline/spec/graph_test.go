package spec

import (
	"strings"
	"testing"
)

const branches = `version: 1
sinks: { a: { dashboard: {} }, b: { dashboard: {} } }
pipelines:
  main:
    stages:
      - { name: read, uses: reader/mf4, with: { paths: [a] } }
      - { name: left, uses: exec, with: { command: [a] } }
      - { name: right, uses: exec, from: read, with: { command: [a] } }
      - { name: both, uses: analysis/window, from: [left, right], with: { window: { tumbling: 1s } }, to: [a, b] }
      - { name: after, uses: exec, with: { command: [a] }, to: a }
      - { name: health, uses: analysis/signal-health, from: read, to: a }
  derived:
    from: main/both
    stages:
      - { name: x, uses: exec, with: { command: [a] } }
      - { name: y, uses: exec, with: { command: [a] }, to: b }
  two:
    from: [derived/x, derived/y]
    stages:
      - { name: z, uses: exec, with: { command: [a] } }
`

func TestGraph(t *testing.T) {
	full := must(t, examples(t, "valid")["full"])
	branched, chained := must(t, branches), must(t, examples(t, "valid")["chained"])
	for _, format := range GraphFormats {
		for name, s := range map[string]*Spec{"full": full, "branches": branched, "chained": chained} {
			text, err := s.Graph(format)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "graph/"+name+"."+format, text)
		}
	}
}

func TestGraphOfSome(t *testing.T) {
	s := must(t, branches)
	for _, format := range GraphFormats {
		text, err := s.Graph(format, "derived")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "graph/derived."+format, text)
	}
	if _, err := s.Graph("ascii", "drived"); err == nil || !strings.Contains(err.Error(), `did you mean "derived"?`) {
		t.Errorf("an unknown pipeline: %v", err)
	}
	if _, err := s.Graph("png"); err == nil || !strings.Contains(err.Error(), "ascii, mermaid, dot or json") {
		t.Errorf("an unknown format: %v", err)
	}
}
