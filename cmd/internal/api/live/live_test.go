package live

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// client reads one stream through a pipe: no network, so that the clock of a synctest bubble applies.
type client struct {
	io.Writer
	header http.Header
	in     *bufio.Reader
	cancel context.CancelFunc
	done   chan struct{}
}

func (c *client) Header() http.Header { return c.header }
func (c *client) WriteHeader(int)     {}
func (c *client) Flush()              {}

type message struct{ event, id, data string }

func watch(t *testing.T, h *Hub, lastID string, sections ...Section) *client {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	c := &client{Writer: w, header: http.Header{}, in: bufio.NewReader(r), cancel: cancel, done: make(chan struct{})}
	req := httptest.NewRequestWithContext(ctx, "GET", "/api/v1/events", nil)
	req.Header.Set("Last-Event-ID", lastID)
	go func() {
		defer close(c.done)
		h.Serve(c, req, "page", sections)
		w.Close()
	}()
	return c
}

// leave drops the connection and waits for the stream to end.
func (c *client) leave() {
	c.cancel()
	go io.Copy(io.Discard, c.in)
	<-c.done
}

// next is the next message that is no beat; io.EOF when the stream ended.
func (c *client) next() (message, error) {
	for {
		m, err := c.read()
		if err != nil || m.event != "" && m.event != "beat" {
			return m, err
		}
	}
}

func (c *client) read() (m message, err error) {
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return m, err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "":
			return m, nil
		case "event":
			m.event = value
		case "id":
			m.id = value
		case "data":
			m.data = value
		}
	}
}

func (c *client) sections(t *testing.T) (map[string]string, string) {
	t.Helper()
	m, err := c.next()
	if err != nil || m.event != "update" {
		t.Fatalf("%v: %+v", err, m)
	}
	var body struct{ Sections map[string]json.RawMessage }
	if err := json.Unmarshal([]byte(m.data), &body); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for k, v := range body.Sections {
		got[k] = string(v)
	}
	return got, m.id
}

// value is a section whose content a test sets.
type value struct {
	v     atomic.Value
	loads atomic.Int64
}

func newValue(s string) *value { v := &value{}; v.v.Store(s); return v }

func (v *value) section(name string) Section {
	return Section{Name: name, Load: func(context.Context) (json.RawMessage, error) {
		v.loads.Add(1)
		if s := v.v.Load().(string); s != "" {
			return json.RawMessage(s), nil
		}
		return nil, errors.New("the store is away")
	}}
}

func TestStream(t *testing.T) {
	t.Run("sends everything first, then what changed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h, a, b := New(), newValue("1"), newValue("2")
			c := watch(t, h, "", a.section("a"), b.section("b"))
			defer c.leave()
			if got, _ := c.sections(t); got["a"] != "1" || got["b"] != "2" {
				t.Fatal(got)
			}
			b.v.Store("3")
			if got, _ := c.sections(t); len(got) != 1 || got["b"] != "3" {
				t.Fatal(got)
			}
		})
	})
	t.Run("at most ten updates a second, however fast things change", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int64
			c := watch(t, New(), "", Section{"n", func(context.Context) (json.RawMessage, error) {
				return json.Marshal(n.Add(1))
			}})
			defer c.leave()
			start := time.Now()
			for range 41 {
				c.sections(t)
			}
			if took := time.Since(start); took < 4*time.Second {
				t.Errorf("40 updates in %v", took)
			}
		})
	})
	t.Run("a client that comes back gets only what it missed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h, a, b := New(), newValue("1"), newValue("2")
			c := watch(t, h, "", a.section("a"), b.section("b"))
			_, id := c.sections(t)
			c.leave()
			a.v.Store("7")
			time.Sleep(Every)
			c = watch(t, h, id, a.section("a"), b.section("b"))
			got, id := c.sections(t)
			if len(got) != 1 || got["a"] != "7" {
				t.Fatalf("resumed with %v", got)
			}
			c.leave()
			c = watch(t, h, id, a.section("a"), b.section("b"))
			defer c.leave()
			if got, _ := c.sections(t); len(got) != 0 {
				t.Errorf("nothing changed, resumed with %v", got)
			}
		})
	})
	t.Run("an id of another process, or of a page long forgotten, resumes nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h, a := New(), newValue("1")
			c := watch(t, h, "", a.section("a"))
			_, id := c.sections(t)
			c.leave()
			time.Sleep(2 * keep)
			for _, last := range []string{id, "0123456789ab-99999999999999999", "garbage", "-"} {
				c = watch(t, h, last, a.section("a"))
				if got, _ := c.sections(t); got["a"] != "1" {
					t.Errorf("after id %q: %v", last, got)
				}
				c.leave()
				delete(h.pages, "page")
				time.Sleep(Every)
			}
		})
	})
	t.Run("beats while nothing changes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := watch(t, New(), "", newValue("1").section("a"))
			defer c.leave()
			c.sections(t)
			start := time.Now()
			m, err := c.read()
			if err != nil || m.event != "beat" || time.Since(start) > Beat {
				t.Errorf("%v: %+v after %v", err, m, time.Since(start))
			}
		})
	})
	t.Run("says once what cannot be loaded, and goes on when it can", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := newValue("")
			c := watch(t, New(), "", a.section("a"))
			defer c.leave()
			c.sections(t)
			m, err := c.next()
			if err != nil || m.event != "problem" || !strings.Contains(m.data, "the store is away") || !strings.Contains(m.data, `"a"`) {
				t.Fatalf("%v: %+v", err, m)
			}
			time.Sleep(4 * Every)
			a.v.Store("5")
			if got, _ := c.sections(t); got["a"] != "5" {
				t.Error(got)
			}
			if m, err := c.next(); err != nil || m.event != "problem" || !strings.Contains(m.data, `"error":""`) {
				t.Errorf("%v: %+v", err, m)
			}
		})
	})
	t.Run("a section that is there again as it was is told of too, and others change meanwhile", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := newValue("1"), newValue("2")
			c := watch(t, New(), "", a.section("a"), b.section("b"))
			defer c.leave()
			c.sections(t)
			a.v.Store("")
			if m, err := c.next(); err != nil || m.event != "problem" {
				t.Fatalf("%v: %+v", err, m)
			}
			b.v.Store("3")
			if got, _ := c.sections(t); len(got) != 1 || got["b"] != "3" {
				t.Error(got)
			}
			a.v.Store("1")
			if m, err := c.next(); err != nil || m.event != "problem" || !strings.Contains(m.data, `"error":""`) {
				t.Errorf("%v: %+v", err, m)
			}
		})
	})
	t.Run("each of two tabs is told once of a section that cannot be loaded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h, a, b := New(), newValue(""), newValue("2")
			one := watch(t, h, "", a.section("a"), b.section("b"))
			defer one.leave()
			time.Sleep(Every / 4)
			two := watch(t, h, "", a.section("a"), b.section("b"))
			defer two.leave()
			for _, c := range []*client{one, two} {
				c.sections(t)
				if m, err := c.next(); err != nil || m.event != "problem" {
					t.Fatalf("%v: %+v", err, m)
				}
			}
			time.Sleep(4 * Every)
			b.v.Store("3")
			for _, c := range []*client{one, two} {
				c.sections(t) // and nothing before it
			}
		})
	})
	t.Run("two tabs on a page load it once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h, a := New(), newValue("1")
			one, two := watch(t, h, "", a.section("a")), watch(t, h, "", a.section("a"))
			defer one.leave()
			defer two.leave()
			one.sections(t)
			two.sections(t)
			if n := a.loads.Load(); n != 1 {
				t.Errorf("loaded %d times", n)
			}
		})
	})
	t.Run("closing the hub ends every stream", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := New()
			c := watch(t, h, "", newValue("1").section("a"))
			c.sections(t)
			h.Close()
			h.Close()
			if m, err := c.next(); err != io.EOF {
				t.Errorf("%v: %+v", err, m)
			}
			<-c.done
		})
	})
}
