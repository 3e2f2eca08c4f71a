//go:build unix

package mdf

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
)

// Opening a pipe that nobody writes to would not return.
func TestOpenRefusesWhatIsNoRegularFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe.mf4")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, "/dev/zero", t.TempDir()} {
		_, err := Open(path)
		var at *fs.PathError
		if !errors.Is(err, ErrNotRegular) || !errors.As(err, &at) || at.Path != path {
			t.Errorf("%s: %v", path, err)
		}
	}
}
