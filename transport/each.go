package transport

import (
	"context"
	"errors"
	"io"
)

// Each hands f the records that a watch of the log shows, until it ends (WatchConfig.Drain), which is no error, or f says so.
func Each(ctx context.Context, l Log, c WatchConfig, f func(*Stored) error) error {
	w, err := l.Watch(ctx, c)
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		s, err := w.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(&s)
		}
		if err != nil {
			return err
		}
	}
}
