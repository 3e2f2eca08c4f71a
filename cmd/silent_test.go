package cmd

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestAHolderThatDoesNotAnswerIsNamed: whoever holds the state directory and does not answer is named with what to do about it.
func TestAHolderThatDoesNotAnswerIsNamed(t *testing.T) {
	h := holder{PID: 7, Address: "127.0.0.1:1"}
	err := h.silent(os.ErrDeadlineExceeded)
	if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "process 7 at 127.0.0.1:1") || !strings.Contains(err.Error(), "kill -CONT 7") {
		t.Error(err)
	}
	if other := errors.New("no"); !errors.Is(h.silent(other), other) || h.silent(other).Error() != "no" || h.silent(nil) != nil {
		t.Errorf("another error became %q", h.silent(other))
	}
}
