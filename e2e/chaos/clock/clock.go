// Package clock builds binaries whose clock on the wall can be set from outside while they run.
//
// Go programs do not ask the C library for the time, so nothing that is put before it helps; and to set the machine's own clock
// is not ours. So the binary is built over an overlay of the standard library's package time (go build -overlay) in which Now adds
// an offset that lies in a file mapped into memory: whoever writes to the file sets the clock of all processes that were started
// with its name. The monotonic clock, by which timers run, goes on as it does when somebody sets the clock of a machine.
package clock

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Env names the file of a process's clock.
const Env = "MILEPOST_CHAOS_CLOCK"

// now is where package time says what time it is.
const now = "func Now() Time {\n"

const shifted = `func Now() Time {
	t := unshiftedNow()
	if s := clockShift(); s != 0 {
		t.addSec(s)
	}
	return t
}

func unshiftedNow() Time {
`

const source = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// clockShiftAt is a whole number of seconds in a mapped file; nil: nobody sets this clock.
var clockShiftAt = mapClockShift()

func mapClockShift() *atomic.Int64 {
	path, ok := syscall.Getenv("` + Env + `")
	if !ok {
		return nil
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("time: open the file of the clock: " + err.Error())
	}
	data, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("time: map the file of the clock: " + err.Error())
	}
	return (*atomic.Int64)(unsafe.Pointer(&data[0]))
}

func clockShift() int64 {
	if clockShiftAt == nil {
		return 0
	}
	return clockShiftAt.Load()
}
`

// Overlay writes what is to be laid over package time into a folder and returns the flag for go build.
func Overlay(ctx context.Context, dir string) (flag string, err error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	folder := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	original, err := os.ReadFile(filepath.Join(folder, "time.go"))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(original), now); n != 1 {
		return "", fmt.Errorf("%s/time.go has %q %d times, not once: this Go is another one than the overlay was written for", folder, strings.TrimSpace(now), n)
	}
	replace := map[string]string{filepath.Join(folder, "time.go"): filepath.Join(dir, "time.go"), filepath.Join(folder, "clockshift.go"): filepath.Join(dir, "clockshift.go")}
	index, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "time.go"), []byte(strings.Replace(string(original), now, shifted, 1)), 0o644),
		os.WriteFile(filepath.Join(dir, "clockshift.go"), []byte(source), 0o644),
		os.WriteFile(filepath.Join(dir, "overlay.json"), index, 0o644))
	return "-overlay=" + filepath.Join(dir, "overlay.json"), err
}

// A Clock is one that can be set.
type Clock struct{ file *os.File }

// New makes a clock that goes right, in a file.
func New(path string) (*Clock, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	c := &Clock{f}
	return c, c.Set(0)
}

// Set makes the clock go wrong by whole seconds.
func (c *Clock) Set(by time.Duration) error {
	_, err := c.file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(int64(by/time.Second))), 0)
	return err
}

// Env is what the processes of this clock have in their environment.
func (c *Clock) Env() string { return Env + "=" + c.file.Name() }

// Close closes the file.
func (c *Clock) Close() error { return c.file.Close() }
