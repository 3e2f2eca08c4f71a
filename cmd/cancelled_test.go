package cmd

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/milepost-dev/milepost/transport"
)

func TestCancelled(t *testing.T) {
	canceled := fmt.Errorf("submit a.mf4: %w (%w)", transport.ErrUnknown, context.Canceled)
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{context.Canceled, true},
		{fmt.Errorf("list: %w", context.Canceled), true},
		{canceled, true},
		{errors.Join(canceled, context.Canceled), true},
		{transport.ErrUnknown, false},
		{errors.Join(canceled, errors.New("the disk is full")), false},
		{context.DeadlineExceeded, false},
	} {
		if got := cancelled(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
