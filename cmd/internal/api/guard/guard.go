// Package guard decides which HTTP requests a loopback server answers: the address they were sent to, the page they come from,
// and, for commands, who sent them.
package guard

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
)

// A Refusal is the body of every error answer: what is wrong, a stable code, and the next step where there is one.
type Refusal struct {
	Message string `json:"error"`
	Code    string `json:"code"` // "E-host", as in the docs
	Next    string `json:"next,omitempty"`
}

// Error is the message with its code, as the command line prints errors.
func (p Refusal) Error() string {
	text := p.Message + " [" + p.Code + "]"
	if p.Next != "" {
		text += "\n  next: " + p.Next
	}
	return text
}

// Write answers with the refusal as JSON.
func (p Refusal) Write(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(p) // a client that is gone needs no answer
}

// Config says what is let in.
type Config struct {
	Hosts []string // exact values of the Host header, such as "127.0.0.1:7070"
	Token string   // what commands present as a bearer token; empty refuses every token
}

// LoopbackHosts are the names under which a server on a loopback port is reached. A page of another site that has its name
// resolve to 127.0.0.1 (DNS rebinding) sends its own name and is refused.
func LoopbackHosts(port int) []string {
	return []string{fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("localhost:%d", port), fmt.Sprintf("[::1]:%d", port)}
}

// Loopback says whether an address that was listened on is reachable from this machine only.
func Loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// maxBody bounds what a command may send [bytes].
const maxBody = 1 << 20

// policy is the content security policy of every answer: what the binary serves and nothing inline, so that a recording's name
// or a dead letter's text can never run.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// New wraps a handler. Reading needs the right Host alone. Every other method is a command: it is refused across origins, and
// needs either the token or proof that a page of this server sent it.
func New(c Config, next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		harden(w.Header())
		switch {
		case !slices.Contains(c.Hosts, strings.ToLower(r.Host)):
			Refusal{fmt.Sprintf("host %q is not one this server answers to", r.Host), "E-host", "open http://" + first(c.Hosts)}.
				Write(w, http.StatusMisdirectedRequest)
			return
		case safe(r.Method):
		case cross.Check(r) != nil:
			Refusal{"a page of another origin may not send commands", "E-origin", ""}.Write(w, http.StatusForbidden)
			return
		case !authorized(c.Token, r) && !sameOrigin(r):
			w.Header().Set("WWW-Authenticate", `Bearer realm="milepost"`)
			Refusal{"a command needs the token of the running server", "E-token",
				"send it as \"Authorization: Bearer\"; it lies in the state directory, readable by its owner"}.Write(w, http.StatusUnauthorized)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

func harden(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

func safe(method string) bool { return method == http.MethodGet || method == http.MethodHead }

func first(hosts []string) string {
	if len(hosts) == 0 {
		return "127.0.0.1"
	}
	return hosts[0]
}

func authorized(token string, r *http.Request) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && token != "" && subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 1
}

// sameOrigin says whether a browser vouches that a page of this server sent the request. Scripts can set neither header; a
// request with neither is not a browser's and has to show the token.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	return r.Header.Get("Origin") == "http://"+r.Host
}
