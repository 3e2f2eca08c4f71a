package mdf

import (
	"context"
	"errors"
)

// A call is what a call of Next hands down to those that walk through the data for it, which may take long.
type call struct{ ctx context.Context }

// canceled returns the error of the context of the call under way, nil without one.
func (c *call) canceled() error {
	if c == nil || c.ctx == nil {
		return nil
	}
	return c.ctx.Err()
}

// isCanceled says that err is that of a context: who goes on with another one finds everything in place.
func isCanceled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// handCall hands the context of calls down to all that walk through unsorted data.
func (r *GroupReader) handCall() {
	for _, src := range []recordSource{r.src, r.other} {
		if u, ok := src.(*unsortedRows); ok {
			u.d.call = &r.call
		}
	}
	for _, d := range r.cols {
		if d.blobs == nil {
			continue
		}
		if v, ok := d.blobs.s.(*valueStream); ok {
			v.d.call = &r.call
		}
	}
}
