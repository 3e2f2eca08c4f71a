// Command mf4corpus compares what the binary decodes of a folder of MDF 4 files with the folder's reference values:
// reference.jsonl has the digest of every channel of every file, bus_reference.jsonl, if it is there, those of bus signals
// by (DBC, file) pairs. It prints each difference and exits with 1 if there is any.
//
//	go run ./e2e/mf4corpus -milepost bin/milepost -corpus FOLDER
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	binary := flag.String("milepost", "bin/milepost", "the binary under test")
	corpus := flag.String("corpus", "../shared/mf4", "folder with reference.jsonl and the files it names")
	flag.Parse()
	path, err := filepath.Abs(*binary)
	if err == nil {
		err = run(os.Stdout, path, *corpus)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mf4corpus:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, binary, corpus string) error {
	r := &report{w: w}
	names, want, err := references(filepath.Join(corpus, "reference.jsonl"))
	if err != nil {
		return err
	}
	for _, name := range names {
		got, err := digests(binary, corpus, "inspect", "--digest", name)
		if err != nil {
			r.differ(name, "", "fails: %v", err)
			continue
		}
		r.compareFile(name, got, want[name])
	}
	if err := r.bus(binary, corpus); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d files, %d groups, %d channels, %d bus signals: ", len(names), r.groups, r.channels, r.signals)
	if r.differences > 0 {
		fmt.Fprintf(w, "%d differences\n", r.differences)
		return fmt.Errorf("%d differences", r.differences)
	}
	fmt.Fprintln(w, "no difference")
	return nil
}

// A line is one JSON object of a digest.
type line map[string]any

func (l line) str(key string) string {
	s, _ := l[key].(string)
	return s
}

// references reads the lines of a file by the file they are about, in the order of the files.
func references(path string) (names []string, by map[string][]line, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	all, err := parse(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	by = map[string][]line{}
	for _, l := range all {
		name := l.str("file")
		if by[name] == nil {
			names = append(names, name)
		}
		by[name] = append(by[name], l)
	}
	return names, by, nil
}

func parse(text []byte) (all []line, err error) {
	for s := bufio.NewReader(bytes.NewReader(text)); ; {
		b, end := s.ReadBytes('\n')
		if len(bytes.TrimSpace(b)) > 0 {
			var l line
			if err := json.Unmarshal(b, &l); err != nil {
				return nil, err
			}
			all = append(all, l)
		}
		if end != nil {
			return all, nil
		}
	}
}

// digests runs the binary in the folder.
func digests(binary, dir string, args ...string) ([]line, error) {
	c := exec.Command(binary, args...)
	var out, problems bytes.Buffer
	c.Dir, c.Stdout, c.Stderr = dir, &out, &problems
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(problems.String()))
	}
	return parse(out.Bytes())
}
