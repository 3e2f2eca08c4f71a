package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// diskBytes is what a small disk holds.
const diskBytes = 256 << 20

// A disk is a small file system in memory.
type disk struct{ dir string }

// mountDisk makes one below dir. Without the right to mount nothing can be said about full disks, so that is an error.
func mountDisk(dir string) (*disk, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes)); err != nil {
		return nil, fmt.Errorf("mount a small disk at %s: %w (this needs root, in a container CAP_SYS_ADMIN: docker run --privileged)", dir, err)
	}
	return &disk{dir}, nil
}

// unmount gives it back.
func (d *disk) unmount() error { return unix.Unmount(d.dir, unix.MNT_DETACH) }

// full is the blow that leaves no room on the disk for a while.
func (d *disk) full(weight int) blow {
	return blow{"the disk is full", weight, func(ctx context.Context, rng *rand.Rand) error {
		err := d.fill()
		if err == nil {
			err = pause(ctx, between(rng, 200*time.Millisecond, 2*time.Second))
		}
		return errors.Join(err, d.free())
	}}
}

func (d *disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill takes all the room there is.
func (d *disk) fill() error {
	f, err := os.Create(d.ballast())
	if errors.Is(err, unix.ENOSPC) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for len(block) > 0 {
		n, err := f.Write(block)
		switch {
		case errors.Is(err, unix.ENOSPC):
			block = block[:len(block)/2]
		case err != nil:
			return err
		case n == 0:
			return io.ErrShortWrite
		}
	}
	return nil
}

// free gives it back.
func (d *disk) free() error {
	if err := os.Remove(d.ballast()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
