//go:build unix

package cmd_test

import (
	"syscall"
	"testing"
)

// A pipe that nobody writes to keeps its reader for ever, and a device can be read for ever.
func TestWhatIsNoFileIsRefused(t *testing.T) {
	l := setup(t)
	pipe := l.path("pipe.mf4")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, "/dev/zero"} {
		for _, args := range [][]string{{"inspect", path}, {"inspect", path, "--digest"}, {"inspect", path, "--decode-all"},
			{"export", path, "-o", l.path("out.csv")}, {"finalize", path, "-o", l.path("out.mf4")},
			{"inspect", "../samples/sim_full_braking.mf4", "--dbc", path}} {
			l.with(t.Context(), 1, args...)
			l.wants(l.stderr.String(), path+": not a regular file [E-file]\n  next: ")
		}
	}
	l.with(t.Context(), 1, "inspect", "nope.mf4")
	l.wants(l.stderr.String(), "nope.mf4: no such file or directory [E-file]\n  next: check the path")
	l.with(t.Context(), 1, "inspect", l.path("pipelines.yaml"))
	l.wants(l.stderr.String(), l.path("pipelines.yaml")+`: not an MDF file: it starts with "version:"`, "[E-mf4]")
}
