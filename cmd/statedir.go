package cmd

import (
	"context"
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

// How long a directory is waited for whose holder serves nobody: a command that looks something up and leaves, or a run that is
// just starting, which soon says where it serves.
const (
	patience  = 5 * time.Second
	lookAgain = 20 * time.Millisecond
)

// holdState takes the directory, made if missing. errHeld, with pid and address, if another process has it and serves there.
func holdState(ctx context.Context, path string) (*stateDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w\n  next: take another one with --state DIR", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the state directory: %w", err)
	}
	if err := seize(ctx, path, lock); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s := &stateDir{path: path, lock: lock}
	return s, s.forget() // what a killed process said
}

// seize locks, and waits for that while the holder serves nobody.
func seize(ctx context.Context, path string, lock *os.File) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errHeld)
	defer cancel()
	t := time.NewTicker(lookAgain)
	defer t.Stop()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("lock the state directory %s: %w", path, err)
		}
		if _, serving := servedBy(path); serving {
			return heldError(path)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errHeld) {
				return heldError(path)
			}
			return ctx.Err()
		}
	}
}

func heldError(path string) error {
	return fmt.Errorf("%s: %w%s\n  next: look there, or take another one with --state DIR", path, errHeld, describeHolder(path))
}

// servedBy is who says to serve the directory; false when nobody does, or a process that is no more.
func servedBy(path string) (holder, bool) {
	h, err := readHolder(path)
	return h, err == nil && !errors.Is(unix.Kill(h.PID, 0), unix.ESRCH)
}

func describeHolder(path string) string {
	h, serving := servedBy(path)
	if !serving {
		return " by a process that is just starting"
	}
	return fmt.Sprintf(" by process %d, which serves http://%s", h.PID, h.Address)
}

// noState says that a directory holds no state; nil where it does.
func noState(path string) error {
	_, err := os.Stat(filepath.Join(path, "lock"))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no state in %s: nothing has been run with it\n  next: milepost run, or name another one with --state DIR", path)
	}
	return err
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
func (s *stateDir) release() error { return errors.Join(s.forget(), s.lock.Close()) }

// forget takes back what the holder announced.
func (s *stateDir) forget() error {
	err := os.Remove(filepath.Join(s.path, holderFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
