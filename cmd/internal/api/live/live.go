// Package live keeps pages up to date over one event stream each: it loads what a page shows again and again and sends what
// changed.
package live

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Pace of a stream. Every is well above the 100 ms that ten updates a second allow; a client that hears nothing for two beats
// calls its data old.
const (
	Every    = 250 * time.Millisecond // between two looks at what a page shows
	Beat     = 5 * time.Second        // between two signs of life
	keep     = time.Minute            // a page nobody watches is forgotten after it
	deadline = 10 * time.Second       // for one write; a client that does not read is let go
)

// A Section is one part of a page under the name the page knows it by. Load returns it as JSON; it must give the same bytes
// as long as nothing changed, so ages are the client's to count.
type Section struct {
	Name string
	Load func(ctx context.Context) (json.RawMessage, error)
}

// A Hub holds the pages that are being watched. Its methods may be called concurrently.
type Hub struct {
	boot   string // of this process: an id of another one resumes nothing
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex
	pages map[string]*page
}

// page is what the clients of one page were sent last. Several tabs on one page share it, and it outlives a dropped
// connection, so that a client that comes back gets only what it missed.
type page struct {
	mu       sync.Mutex
	parts    []part
	version  uint64 // of the newest part
	loaded   time.Time
	trouble  error     // of the first section that could not be loaded then
	users    int       // guarded by Hub.mu
	lastUsed time.Time // guarded by Hub.mu
}

type part struct {
	Section
	body    json.RawMessage
	version uint64
}

// New makes a hub.
func New() *Hub {
	var b [6]byte
	rand.Read(b[:]) // never fails
	return &Hub{boot: hex.EncodeToString(b[:]), closed: make(chan struct{}), pages: map[string]*page{}}
}

// Close ends every stream; later ones end at once. It may be called twice.
func (h *Hub) Close() { h.once.Do(func() { close(h.closed) }) }

// Serve answers one client with the stream of a page until it leaves or the hub is closed. Pages of the same key have the same
// sections. Messages:
//
//	event: update   id: <boot>-<version>   data: {"sections": {name: JSON}}   what changed since the last one
//	event: problem                         data: {"section": name, "error": text}   a section could not be loaded; "" as error: it can be again
//	event: beat                            data: {"at": RFC 3339}   every five seconds
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request, key string, sections []Section) {
	p := h.enter(key, sections)
	defer h.leave(p)
	s := stream{hub: h, page: p, w: w, control: http.NewResponseController(w), sent: h.resume(r.Header.Get("Last-Event-ID")), first: true}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	if s.write("retry: 1000\n\n") == nil {
		s.run(r.Context())
	}
}

// resume is the version a client has already, by the id of its last message; 0 when that was another process's.
func (h *Hub) resume(id string) uint64 {
	boot, n, _ := strings.Cut(id, "-")
	v, err := strconv.ParseUint(n, 10, 64)
	if err != nil || boot != h.boot {
		return 0
	}
	return v
}

func (h *Hub) enter(key string, sections []Section) *page {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for k, p := range h.pages {
		if p.users == 0 && now.Sub(p.lastUsed) > keep {
			delete(h.pages, k)
		}
	}
	p := h.pages[key]
	if p == nil {
		p = &page{}
		for _, s := range sections {
			p.parts = append(p.parts, part{Section: s})
		}
		// Versions of a page that was forgotten must not be given out again: they count up from the time it was made.
		p.version = uint64(now.UnixMicro())
		h.pages[key] = p
	}
	p.users++
	return p
}

func (h *Hub) leave(p *page) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p.users--
	p.lastUsed = time.Now()
}

// changed loads the page's sections, unless another client's stream just did, and returns those newer than sent.
func (p *page) changed(ctx context.Context, sent uint64) (map[string]json.RawMessage, uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.loaded) >= Every/2 {
		if err := p.load(ctx); ctx.Err() == nil { // the end of one client is no trouble of the others
			p.trouble, p.loaded = err, time.Now()
		}
	}
	if sent > p.version {
		sent = 0 // of the page as it was before it was forgotten
	}
	news := map[string]json.RawMessage{}
	for _, s := range p.parts {
		if s.version > sent {
			news[s.Name] = s.body
		}
	}
	return news, p.version, p.trouble
}

func (p *page) load(ctx context.Context) error {
	var first error
	for i := range p.parts {
		s := &p.parts[i]
		body, err := s.Load(ctx)
		switch {
		case err != nil && first == nil:
			first = &problem{s.Name, err}
		case err == nil && !bytes.Equal(body, s.body):
			p.version++
			s.body, s.version = body, p.version
		}
	}
	return first
}

// problem is a section that could not be loaded.
type problem struct {
	section string
	err     error
}

func (p *problem) Error() string { return p.err.Error() }

// stream is one client.
type stream struct {
	hub     *Hub
	page    *page
	w       http.ResponseWriter
	control *http.ResponseController
	sent    uint64
	first   bool
	trouble string // what the client was told last
}

func (s *stream) run(ctx context.Context) {
	look, beat := time.NewTicker(Every), time.NewTicker(Beat)
	defer look.Stop()
	defer beat.Stop()
	for s.update(ctx) == nil {
		select {
		case <-ctx.Done():
			return
		case <-s.hub.closed:
			return
		case <-look.C:
		case at := <-beat.C:
			if s.event("beat", "", map[string]any{"at": at.UTC()}) != nil {
				return
			}
		}
	}
}

// update sends what changed; the first one is sent even when nothing did, so that the client knows that it is up to date. What
// could not be loaded is told behind it: the update may hold an older state of the same section.
func (s *stream) update(ctx context.Context) error {
	news, version, problem := s.page.changed(ctx, s.sent)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(news) > 0 || s.first {
		s.first, s.sent = false, version
		if err := s.event("update", fmt.Sprintf("%s-%d", s.hub.boot, version), map[string]any{"sections": news}); err != nil {
			return err
		}
	}
	return s.report(problem)
}

// report tells the client of a section that cannot be loaded, once for as long as the reason stays the same, and when none is left.
func (s *stream) report(err error) error {
	text, section := "", ""
	if err != nil {
		text = err.Error()
	}
	if s.trouble == text {
		return nil
	}
	s.trouble = text
	if p, ok := err.(*problem); ok {
		section = p.section
	}
	return s.event("problem", "", map[string]any{"section": section, "error": text})
}

func (s *stream) event(name, id string, data any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	return s.write("event: " + name + "\n" + id + "data: " + string(body) + "\n\n")
}

func (s *stream) write(text string) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(deadline)) // a writer without deadlines is a test's
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}
