//go:build corpus

package signalhealth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages/analysis/signalhealth"
	"github.com/milepost-dev/milepost/stages/reader/mf4"
)

// TestCorpusFindings shows the findings of real recordings and holds the few that are known from how they were made: the GNSS
// of the CANedge recordings loses its fix, and no recording of the corpus is damaged or steps back in time.
func TestCorpusFindings(t *testing.T) {
	folder := os.Getenv("ROADLOGS")
	if folder == "" {
		folder = "../../../../shared/roadlogs"
	}
	cfg := mf4.Defaults
	cfg.Paths, cfg.Bindings = pipeline.Strings{filepath.Join(folder, "*.mf4")}, filepath.Join(folder, "signals.json")
	reader, err := mf4.Type.Assemble(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	health, err := signalhealth.Type.Assemble(t.Context(), &signalhealth.Type.Default)
	if err != nil {
		t.Fatal(err)
	}
	items, err := reader.List(t.Context())
	if err != nil || len(items) == 0 {
		t.Fatalf("no recordings in %s (%v): set ROADLOGS to the folder of the corpus", folder, err)
	}
	for _, it := range items {
		findings, summary := replay(t, it, reader, health)
		t.Logf("%-28s %v", it.Name, summary.ByKind)
		for _, f := range findings[:min(len(findings), 4)] {
			t.Logf("  %8.2f s  %s", f.T, f.Text)
		}
		if summary.ByKind[signalhealth.KindCut] > 0 || summary.ByKind[signalhealth.KindBack] > 0 || summary.ByKind[signalhealth.KindRange] > 0 {
			t.Errorf("%s: %v", it.Name, summary.ByKind)
		}
		if it.Name == "real_canedge_obd2.MF4" && !slices.ContainsFunc(findings, func(f signalhealth.Finding) bool { return f.Kind == signalhealth.KindGap }) {
			t.Errorf("%s: no gap in its GNSS", it.Name)
		}
	}
}

func replay(t *testing.T, it pipeline.Item, reader, health pipeline.Parts) (findings []signalhealth.Finding, summary signalhealth.Summary) {
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
	p, err := health.Processor(ctx, it)
	check(err)
	out := pipeline.EmitterFunc(func(_ context.Context, b pipeline.Batch) error {
		if b.Type == schemas.HealthSummary {
			return json.Unmarshal(b.Docs[0], &summary)
		}
		var f signalhealth.Finding
		findings = append(findings, f)
		return json.Unmarshal(b.Docs[0], &findings[len(findings)-1])
	})
	for {
		b, err := r.Read(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		check(err)
		check(p.Process(ctx, b, out))
	}
	check(p.Finish(ctx, out))
	if summary.Recording != it.Name || strings.Contains(fmt.Sprint(summary), "NaN") {
		t.Errorf("%s: summary of %s", it.Name, summary.Recording)
	}
	return findings, summary
}
