package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// report counts what was compared and prints what differs.
type report struct {
	w                         io.Writer
	groups, channels, signals int
	differences               int
}

const maxPrinted = 200

func (r *report) differ(file, where, format string, args ...any) {
	if r.differences++; r.differences <= maxPrinted {
		fmt.Fprintf(r.w, "%s: %s%s\n", file, where, fmt.Sprintf(format, args...))
	}
}

// compareFile compares the lines of one file, which come in the same order.
func (r *report) compareFile(name string, got, want []line) {
	for i, w := range want {
		switch w["type"] {
		case "cg":
			r.groups++
		case "cn":
			r.channels++
		}
		where := ""
		if w["type"] != "file" {
			where = fmt.Sprintf("group %v: ", w["g"])
		}
		if w["type"] == "cn" {
			where += fmt.Sprintf("channel %v[%v]: ", w["name"], w["k"])
		}
		if i >= len(got) {
			r.differ(name, where, "is missing")
			continue
		}
		r.compareLine(name, where, got[i], w)
	}
	if len(got) > len(want) {
		r.differ(name, "", "has %d lines, the reference %d", len(got), len(want))
	}
}

func (r *report) compareLine(name, where string, got, want line) {
	if want["kind"] == "error" {
		return // nothing vouches for it
	}
	for _, key := range keys(got, want) {
		if !agree(key, got[key], want[key], got, want) {
			r.differ(name, where, "%s is %v, want %v", key, show(got[key]), show(want[key]))
		}
	}
}

func show(v any) any {
	if v == nil {
		return "absent"
	}
	return v
}

func keys(a, b line) (out []string) {
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

// informative keys are not compared (README of the corpus, «Digest format»).
var informative = []string{"bits", "by", "overridden", "error", "acq_name", "exact", "raw_sum", "master_sum"}

func agree(key string, got, want any, g, w line) bool {
	switch {
	case slices.Contains(informative, key):
		return true
	case key == "cycles" && w["channels"] == 0.0: // of a group of variable-length values
		return true
	case w["phys"] == "mixed" && slices.Contains([]string{"phys", "sha256", "first", "last", "sum"}, key):
		return true
	case key == "sum" && w["exact"] == true:
		return true
	case key == "sha256" && w["exact"] == false:
		return true
	case key == "unit":
		return unitText(got) == unitText(want)
	case w["exact"] == false && slices.Contains([]string{"first", "last", "sum"}, key):
		return near(got, want)
	}
	return fmt.Sprint(got) == fmt.Sprint(want)
}

// near compares numbers to 1e-9.
func near(got, want any) bool {
	a, ok1 := got.(float64)
	b, ok2 := want.(float64)
	if ok1 && ok2 {
		return a == b || math.Abs(a-b) <= 1e-9*math.Abs(b)
	}
	return fmt.Sprint(got) == fmt.Sprint(want)
}

// unitText takes the text out of a unit that is given as XML: the reference has it as it stands in the file.
func unitText(v any) string {
	s, _ := v.(string)
	if _, after, ok := strings.Cut(s, "<TX>"); ok {
		s, _, _ = strings.Cut(after, "</TX>")
	}
	return strings.TrimSpace(s)
}

// bus compares the signals of the (DBC, file) pairs. Signals that the reference leaves out (those that hold nothing but «not
// available») are no difference.
func (r *report) bus(binary, corpus string) error {
	names, want, err := references(filepath.Join(corpus, "bus_reference.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		file, err := find(corpus, name)
		if err != nil {
			return err
		}
		byDBC := map[string][]line{}
		for _, w := range want[name] {
			byDBC[w.str("dbc")] = append(byDBC[w.str("dbc")], w)
		}
		for _, dbc := range sortedKeys(byDBC) {
			database, err := find(corpus, dbc)
			if err != nil {
				return err
			}
			got, err := digests(binary, corpus, "inspect", "--digest", "--dbc", database, file)
			if err != nil {
				r.differ(name, dbc+": ", "fails: %v", err)
				continue
			}
			for _, w := range byDBC[dbc] {
				r.signals++
				r.compareSignal(name, got, w)
			}
		}
	}
	return nil
}

func sortedKeys(m map[string][]line) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// find returns the path below the folder of a file that is named with or without its own folder.
func find(corpus, name string) (string, error) {
	for _, pattern := range []string{name, filepath.Join("*", name), filepath.Join("*", "*", name)} {
		found, err := filepath.Glob(filepath.Join(corpus, pattern))
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return filepath.Rel(corpus, found[0])
		}
	}
	return "", fmt.Errorf("%s: no %s in it", corpus, name)
}

// signalKeys are what is compared of a bus signal. The reference's invalid is not: it is 0 even where «not available» occurs.
var signalKeys = []string{"n", "unit", "first", "last", "sum", "sha256", "time_sha256", "t_first", "t_last"}

// compareSignal looks for the signal among those of its message; names of messages need not be unique (J1939).
func (r *report) compareSignal(name string, got []line, want line) {
	where := fmt.Sprintf("%s: %s: signal %s: ", want.str("dbc"), want.str("message"), want.str("signal"))
	var differing []string
	found := false
	for _, g := range got {
		if g.str("signal") != want.str("signal") || g.str("message") != want.str("message") {
			continue
		}
		var d []string
		for _, key := range signalKeys {
			if v, ok := want[key]; ok && !agreeSignal(key, g[key], v) {
				d = append(d, fmt.Sprintf("%s is %v, want %v", key, show(g[key]), v))
			}
		}
		if len(d) == 0 {
			return
		}
		if !found || len(d) < len(differing) {
			found, differing = true, d
		}
	}
	if !found {
		r.differ(name, where, "is missing")
		return
	}
	r.differ(name, where, "%s", strings.Join(differing, "; "))
}

func agreeSignal(key string, got, want any) bool {
	switch key {
	case "sum":
		return near(got, want)
	case "unit":
		return unitText(got) == unitText(want)
	}
	return fmt.Sprint(got) == fmt.Sprint(want)
}
