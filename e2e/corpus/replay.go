package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// results are the files that a replay left, by name.
type results map[string][]byte

// failed is the exit code of a run in which a job failed: the others have results.
const failed = 1

// replay runs the binary in the recordings' folder, with everything that it writes in a temporary one.
func replay(ctx context.Context, o options, found *recordings, stderr io.Writer) (results, error) {
	tmp, err := os.MkdirTemp("", "milepost-corpus-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	file := filepath.Join(tmp, "pipelines.yaml")
	kpi := filepath.Join(tmp, "kpi")
	if err := os.WriteFile(file, pipelines(found, filepath.Join(kpi, "{item}.json")), 0o600); err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, o.milepost, "run", "-f", file, "--state", filepath.Join(tmp, "state"), "--exit", "--progress", "plain",
		"--listen", "127.0.0.1:0")
	c.Dir, c.Stdout, c.Stderr = o.roadlogs, stderr, stderr
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	var ended *exec.ExitError
	if err := c.Run(); err != nil && !(errors.As(err, &ended) && ended.ExitCode() == failed) {
		return nil, fmt.Errorf("%s: %w", strings.Join(c.Args, " "), err)
	}
	return readResults(kpi)
}

// pipelines is the file that is run: the whole main job, its results as JSON documents.
func pipelines(found *recordings, path string) []byte {
	text := func(s string) string {
		// A JSON string is one of YAML too; "$$" stands for "$".
		data, _ := json.Marshal(strings.ReplaceAll(s, "$", "$$"))
		return string(data)
	}
	n := runtime.GOMAXPROCS(0)
	return fmt.Appendf(nil, `version: 1
sinks:
  results: { json: { path: %s, form: document, types: [aeb.kpi.v1, aeb.fleet.v1] } }
pipelines:
  corpus:
    stages:
      - { name: read, uses: reader/mf4, parallelism: %d, with: { paths: [%s], bindings: %s } }
      - { name: aeb, uses: process/aeb, parallelism: %d }
      - { name: kpi, uses: analysis/aeb-kpi, parallelism: %d, to: results }
      - { name: health, uses: analysis/signal-health, from: read, parallelism: %d }
`, text(path), n, text(found.pattern()), bindingsFile, n, n, n)
}

func readResults(dir string) (results, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return results{}, nil
	}
	if err != nil {
		return nil, err
	}
	r := results{}
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) != ".json" || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if r[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// store puts the results into the folder, and removes what an earlier replay left there for a recording that has none now.
// Other files stay.
func (r results) store(dir string, found *recordings) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range append(found.files(), fleetFile) {
		if r[name] != nil {
			continue // replaced below, so that it is there whole at any time
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	for name, data := range r {
		if err := replace(filepath.Join(dir, name), data); err != nil {
			return err
		}
	}
	return nil
}

// replace writes a file so that it is there whole or not at all.
func replace(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
