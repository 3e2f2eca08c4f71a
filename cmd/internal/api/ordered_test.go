package api

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Of a process that hangs up, a question may be asked again of another one; a command may have been carried out.
func TestACommandThatMayHaveArrivedIsKnown(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			err = c.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}))
	defer s.Close()
	c := NewClient(Endpoint{Address: strings.TrimPrefix(s.URL, "http://")})
	if _, err := c.Status(t.Context()); !errors.Is(err, io.EOF) || c.Ordered() {
		t.Errorf("a question: %v, ordered %v", err, c.Ordered())
	}
	if _, err := c.Redrive(t.Context(), LetterOrder{}); err == nil || !c.Ordered() {
		t.Errorf("a command: %v, ordered %v", err, c.Ordered())
	}
	s.Close()
	gone := NewClient(Endpoint{Address: strings.TrimPrefix(s.URL, "http://")})
	if _, err := gone.Redrive(t.Context(), LetterOrder{}); err == nil || gone.Ordered() {
		t.Errorf("a command to nobody: %v, ordered %v", err, gone.Ordered())
	}
}
