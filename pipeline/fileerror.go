package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrNotRegular says that a path leads to a pipe, a device or a folder where a file is wanted: its reader could wait for ever.
var ErrNotRegular = errors.New("not a regular file")

// FileError is an error of the file system about subject, with its code and, where something is known to help, the next step.
// It does not change whether the error is permanent.
func FileError(subject string, err error) error {
	next := ""
	if n := nextStep(err); n != "" {
		next = "\n  next: " + n
	}
	return fmt.Errorf("%s: %w [E-file]%s", subject, reason(err), next)
}

// reason is the error without the operation and the path, which the subject tells.
func reason(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

func nextStep(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ELOOP):
		if p := (*fs.PathError)(nil); errors.As(err, &p) && filepath.IsAbs(p.Path) {
			return "check the path, and where it is a symbolic link what that leads to"
		}
		return "check the path, and where it is a symbolic link what that leads to; it starts at " + workingDir()
	case errors.Is(err, fs.ErrPermission):
		return "`ls -ld` on it and the folders above shows who may; give the user of milepost access"
	case errors.Is(err, ErrNotRegular):
		return "name a file; what comes out of a pipe or a device has to be copied into one first"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return "a file stands where the path wants a folder: take another path, or move that file away"
	case errors.Is(err, syscall.EISDIR):
		return "it is a folder: name a file"
	case errors.Is(err, syscall.EROFS):
		return "the file system is read-only: take another path"
	case errors.Is(err, syscall.ENOSPC):
		return "make room on that disk, or take another path"
	}
	return ""
}

// IsLasting says whether an error of the file system stays as it is until somebody mends it, so that no retry can help: what is
// not there, may not be read or is no file. Those of disks and networks pass by themselves.
func IsLasting(err error) bool {
	for _, lasting := range []error{fs.ErrNotExist, fs.ErrPermission, fs.ErrExist, ErrNotRegular, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.EROFS} {
		if errors.Is(err, lasting) {
			return true
		}
	}
	return false
}

func workingDir() string {
	dir, err := os.Getwd()
	if err != nil {
		return "the working directory"
	}
	return dir
}
