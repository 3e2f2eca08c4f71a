//go:build corpus

package aebkpi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages/analysis/aebkpi"
	"github.com/milepost-dev/milepost/stages/process/aeb"
	"github.com/milepost-dev/milepost/stages/reader/mf4"
)

// TestCorpusMatchesTheReference replays every recording that signals.json binds through reader, function and KPIs and
// compares all numbers with those that an independent implementation of AEB.md gave.
func TestCorpusMatchesTheReference(t *testing.T) {
	folder := os.Getenv("ROADLOGS")
	if folder == "" {
		folder = "../../../../shared/roadlogs"
	}
	for _, slice := range []pipeline.Size{mf4.Defaults.SliceBytes, 4 << 10} {
		t.Run(slice.String(), func(t *testing.T) { replayCorpus(t, folder, slice) })
	}
}

func replayCorpus(t *testing.T, folder string, slice pipeline.Size) {
	cfg := mf4.Defaults
	cfg.Paths, cfg.Bindings = pipeline.Strings{filepath.Join(folder, "*.mf4")}, filepath.Join(folder, "signals.json")
	cfg.SliceBytes = slice
	reader := assemble(t, mf4.Type, cfg)
	items, err := reader.List(t.Context())
	if err != nil || len(items) == 0 {
		t.Fatalf("no recordings in %s (%v): set ROADLOGS to the folder of the corpus", folder, err)
	}
	slices.SortFunc(items, func(a, b pipeline.Item) int { return strings.Compare(a.Name, b.Name) })
	function, kpi := assemble(t, aeb.Type, aeb.Type.Default), assemble(t, aebkpi.Type, aebkpi.Type.Default)
	var results []pipeline.Result
	for _, it := range items {
		doc := replay(t, it, reader, function, kpi)
		name := strings.TrimSuffix(it.Name, filepath.Ext(it.Name)) + ".json"
		compareFile(t, filepath.Join(folder, "expected", name), doc)
		results = append(results, pipeline.Result{Item: it, Docs: []pipeline.Doc{doc}})
	}
	fleet, err := kpi.Fold(results)
	if err != nil {
		t.Fatal(err)
	}
	compareFile(t, filepath.Join(folder, "expected", "fleet.json"), fleet)
	t.Logf("%d recordings", len(items))
}

func assemble[C any](t *testing.T, typ pipeline.StageType, cfg C) pipeline.Parts {
	t.Helper()
	parts, err := typ.Assemble(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

// replay passes one recording through the three stages by hand.
func replay(t *testing.T, it pipeline.Item, reader, function, kpi pipeline.Parts) (result pipeline.Doc) {
	t.Helper()
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", it.Name, err)
		}
	}
	r, err := reader.Reader(ctx, it)
	check(err)
	defer r.Close()
	f, err := function.Processor(ctx, it)
	check(err)
	k, err := kpi.Processor(ctx, it)
	check(err)
	last := pipeline.EmitterFunc(func(_ context.Context, b pipeline.Batch) error {
		if b.Type != schemas.AEBKPI || len(b.Docs) != 1 || result != nil {
			t.Fatalf("%s: emitted %s", it.Name, b.Type)
		}
		result = b.Docs[0]
		return nil
	})
	toKPI := pipeline.EmitterFunc(func(ctx context.Context, b pipeline.Batch) error {
		if b.Type == schemas.AEBActivation {
			return nil
		}
		return k.Process(ctx, b, last)
	})
	for {
		b, err := r.Read(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		check(err)
		if b.Type == schemas.Signals {
			check(f.Process(ctx, b, toKPI))
		}
	}
	check(f.Finish(ctx, toKPI))
	check(k.Finish(ctx, last))
	return result
}

func compareFile(t *testing.T, file string, doc pipeline.Doc) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return
	}
	var want, got any
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(doc, &got); err != nil {
		t.Fatal(err)
	}
	for i, d := range differences(filepath.Base(file), want, got) {
		if i < 20 {
			t.Error(d)
		}
	}
}

// differences lists where two JSON values differ; floats within 1e-6 relative or 1e-9 absolute are equal.
func differences(at string, want, got any) []string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s: %v, want an object", at, got)}
		}
		var all []string
		for k := range g {
			if _, ok := w[k]; !ok {
				all = append(all, fmt.Sprintf("%s.%s is too much", at, k))
			}
		}
		for k, v := range w {
			if _, ok := g[k]; !ok {
				all = append(all, fmt.Sprintf("%s.%s is missing", at, k))
				continue
			}
			all = append(all, differences(at+"."+k, v, g[k])...)
		}
		return all
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return []string{fmt.Sprintf("%s: %d elements, want %d", at, len(g), len(w))}
		}
		var all []string
		for i := range w {
			all = append(all, differences(fmt.Sprintf("%s[%d]", at, i), w[i], g[i])...)
		}
		return all
	case float64:
		g, ok := got.(float64)
		tolerance := max(1e-9, 1e-6*math.Abs(w))
		if w == math.Trunc(w) && math.Abs(w) > 1e4 {
			tolerance = 0 // a count or a time
		}
		if !ok || math.Abs(g-w) > tolerance {
			return []string{fmt.Sprintf("%s: %v, want %v", at, got, want)}
		}
		return nil
	}
	if want != got {
		return []string{fmt.Sprintf("%s: %v, want %v", at, got, want)}
	}
	return nil
}
