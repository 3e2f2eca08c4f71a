package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/milepost-dev/milepost/cmd/internal/api"
)

// errHeld: another process holds the state directory.
var errHeld = errors.New("the state directory is held")

// A stateDir is where one `run` keeps what is its own: the embedded broker's store, the result store, and the file that tells
// other commands where it listens. The lock is an flock, so a killed process leaves none.
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
		return nil, fmt.Errorf("%s: %w%s\n  next: look there, or take another one with --state DIR", path, errHeld, describeHolder(path))
	}
	return &stateDir{path: path, lock: lock}, nil
}

func describeHolder(path string) string {
	h, err := readHolder(path)
	if err != nil {
		return " by a process that is just starting"
	}
	return fmt.Sprintf(" by process %d, which serves http://%s", h.PID, h.Address)
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

// A holder is the process that holds a state directory and where it is reached, as a file of mode 0600 there says.
type holder struct {
	Address string    `json:"address"` // host:port
	Token   string    `json:"token"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
}

const holderFile = "run.json"

func (h holder) endpoint() api.Endpoint { return api.Endpoint{Address: h.Address, Token: h.Token} }

// announce writes in one step where this process is reached.
func (s *stateDir) announce(h holder) error {
	data, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	temp := filepath.Join(s.path, holderFile+".new")
	if err := os.WriteFile(temp, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the server's address: %w", err)
	}
	return os.Rename(temp, filepath.Join(s.path, holderFile))
}

// readHolder reads what the holder of a directory announced. A killed process leaves it behind: who holds it, the lock says.
func readHolder(path string) (h holder, err error) {
	data, err := os.ReadFile(filepath.Join(path, holderFile))
	if err == nil {
		err = json.Unmarshal(data, &h)
	}
	if err != nil {
		return h, fmt.Errorf("read the server's address: %w", err)
	}
	return h, nil
}

// release gives the directory back.
func (s *stateDir) release() error {
	err := os.Remove(filepath.Join(s.path, holderFile))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, s.lock.Close())
}
