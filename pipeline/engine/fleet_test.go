package engine_test

import (
	"context"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport/memory"
)

// A fleet result of some of a run's recordings must not look like that of all: what another process's store holds is missed.
func TestAFleetResultWantsTheResultsOfAll(t *testing.T) {
	const yaml = `
version: 1
transport: { memory: {} }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/gen, with: { items: 3, rows: 4 } }
      - { name: fold, uses: analysis/fold }
`
	b, own := memory.New(), newMemorySink()
	p := boot(t, setup{yaml: yaml, broker: b.Client(), store: own, parts: parts{}, retain: true})
	jobs := p.finish()
	p.stop()
	read := func(s *memorySink) func(context.Context, schemas.JobID, string, string) ([]pipeline.Doc, error) {
		return func(ctx context.Context, id schemas.JobID, stage, _ string) (docs []pipeline.Doc, err error) {
			c, err := s.Cursor(ctx, schemas.ChainID{Job: id, Stage: stage})
			if len(c.Edges) > 0 {
				docs = append(docs, pipeline.Doc("{}"))
			}
			return docs, err
		}
	}
	for _, c := range []struct {
		store *memorySink
		says  string
	}{{own.client(), ""}, {newMemorySink(), "the results of 3 of its recordings are with another process, item0000 first"}} {
		e := setup{yaml: yaml, broker: b.Client(), store: c.store, parts: parts{}}.engine(t)
		err := e.Fleet(t.Context(), "p", "r", jobs, read(c.store))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%v, want %q", err, c.says)
		}
	}
}
