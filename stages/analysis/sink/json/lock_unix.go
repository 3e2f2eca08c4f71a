//go:build unix

package jsonsink

import (
	"os"

	"golang.org/x/sys/unix"
)

// flock excludes other processes until funlock, or until this one dies.
func flock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			return err
		}
	}
}

func funlock(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }
