package process

import (
	"os"

	"golang.org/x/sys/unix"
)

// narrowPipe is a pipe that holds one write: whoever writes to it can be one line ahead of the reader and no more, however
// busy the machine is, so that a kill at a count comes at that count.
func narrowPipe() (r, w *os.File, err error) {
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC|unix.O_DIRECT); err != nil {
		return os.Pipe() // not every kernel has pipes of packets
	}
	r, w = os.NewFile(uintptr(fd[0]), "progress"), os.NewFile(uintptr(fd[1]), "stderr")
	_, err = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize())
	return r, w, err
}
