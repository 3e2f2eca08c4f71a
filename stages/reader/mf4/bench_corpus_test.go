//go:build corpus

package mf4

import (
	"path/filepath"
	"testing"
)

// BenchmarkRoadlogs replays a given recording of each layout.
func BenchmarkRoadlogs(b *testing.B) {
	dir := roadlogs(b)
	for _, name := range []string{"real_rav4_can.mf4", "real_canedge_obd2.MF4", "real_rav4_signals.mf4", "real_zala_f22.mf4"} {
		b.Run(name, func(b *testing.B) {
			cfg := Defaults
			cfg.Paths = []string{filepath.Join(dir, name)}
			cfg.Bindings = filepath.Join(dir, "signals.json")
			benchmark(b, cfg, 0)
		})
	}
}
