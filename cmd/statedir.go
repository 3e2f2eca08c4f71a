package cmd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/milepost-dev/milepost/cmd/internal/api"
)

// errHeld: another process holds the state directory.
var errHeld = errors.New("the state directory is held")

// A stateDir is where one `run` keeps what is its own: the embedded broker's store, the result store, and the file that tells
// other commands where it listens (api.Endpoint). The lock is an flock, so a killed process leaves none.
type stateDir struct {
	path string
	lock *os.File
}

// holdState takes the directory, made if missing. errHeld, with pid and address, if another process has it.
func holdState(path string) (*stateDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the state directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the state directory %s: %w", path, err)
		}
		return nil, fmt.Errorf("%s: %w%s", path, errHeld, describeHolder(path))
	}
	return &stateDir{path: path, lock: lock}, nil
}

func describeHolder(path string) string {
	e, err := api.ReadEndpoint(path)
	if err != nil {
		return " by a process that is just starting"
	}
	return fmt.Sprintf(" by process %d, which serves %s", e.PID, e.URL())
}

// held says whether a process holds the directory.
func held(path string) bool {
	s, err := holdState(path)
	if err != nil {
		return errors.Is(err, errHeld)
	}
	s.lock.Close()
	return false
}

// release gives the directory back.
func (s *stateDir) release() error { return errors.Join(api.RemoveEndpoint(s.path), s.lock.Close()) }
