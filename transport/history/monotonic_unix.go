//go:build unix

package history

import "golang.org/x/sys/unix"

// monotonic is the machine's clock since it started, which no process sets.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0
	}
	return t.Nano()
}
