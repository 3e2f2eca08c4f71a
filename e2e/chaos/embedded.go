package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/milepost-dev/milepost/e2e/chaos/linear"
	"github.com/milepost-dev/milepost/e2e/internal/results"
	"github.com/milepost-dev/milepost/transport"
)

// An embedded system is inside its only worker.
type embedded struct {
	dir  string
	disk *disk
}

func newEmbedded(_ tools, dir string) (system, error) {
	d, err := mountDisk(stateOf(dir))
	if err != nil {
		return nil, err
	}
	return &embedded{dir, d}, nil
}

func (e *embedded) start(context.Context) error { return nil }

func (e *embedded) transport() string { return "{ embedded: { dir: ./state } }" }

func (e *embedded) shared() bool { return false }

// tempo: its jobs are to begin before the only process dies again, not only to be opened.
func (e *embedded) tempo() tempo { return tempo{attacked: 22 * time.Second, deaths: 5 * time.Second} }

func (e *embedded) clocked() bool { return true }

func (e *embedded) open(ctx context.Context) (transport.Broker, error) {
	return results.Embedded(ctx, filepath.Join(stateOf(e.dir), "jetstream"))
}

func (e *embedded) blows() []blow { return []blow{e.disk.full(1)} }

func (e *embedded) heal(context.Context) error { return e.disk.free() }

func (e *embedded) allows() linear.Allowance { return linear.Allowance{} }

func (e *embedded) kills() int { return 0 }

func (e *embedded) stop() { _ = e.disk.unmount() } // the folder goes, or the kernel keeps it
