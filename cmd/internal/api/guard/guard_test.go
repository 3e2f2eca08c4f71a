package guard

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

const token = "a-token-of-this-test"

func server(t *testing.T) (http.Handler, *int) {
	t.Helper()
	reached := 0
	return New(Config{Hosts: LoopbackHosts(7070), Token: token}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached++
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}
	})), &reached
}

func TestGuard(t *testing.T) {
	same := map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:7070"}
	for _, c := range []struct {
		name, method, host string
		header             map[string]string
		status             int
		code               string
	}{
		{"reading is free", "GET", "127.0.0.1:7070", nil, 200, ""},
		{"by the name localhost", "GET", "localhost:7070", nil, 200, ""},
		{"names have no case", "GET", "LOCALHOST:7070", nil, 200, ""},
		{"over IPv6", "HEAD", "[::1]:7070", nil, 200, ""},
		{"another name, resolved to us", "GET", "evil.example:7070", nil, 421, "E-host"},
		{"our name with a suffix", "GET", "localhost:7070.evil.example", nil, 421, "E-host"},
		{"another port", "GET", "127.0.0.1:80", nil, 421, "E-host"},
		{"no port", "GET", "127.0.0.1", nil, 421, "E-host"},
		{"a command without anything", "POST", "127.0.0.1:7070", nil, 401, "E-token"},
		{"a command with the token", "POST", "127.0.0.1:7070", map[string]string{"Authorization": "Bearer " + token}, 200, ""},
		{"a command with another token", "POST", "127.0.0.1:7070", map[string]string{"Authorization": "Bearer x"}, 401, "E-token"},
		{"a command with an empty token", "POST", "127.0.0.1:7070", map[string]string{"Authorization": "Bearer "}, 401, "E-token"},
		{"another scheme of authorization", "POST", "127.0.0.1:7070", map[string]string{"Authorization": "Basic " + token}, 401, "E-token"},
		{"a command of our page", "POST", "127.0.0.1:7070", same, 200, ""},
		{"of our page in an old browser", "POST", "127.0.0.1:7070", map[string]string{"Origin": "http://127.0.0.1:7070"}, 200, ""},
		{"of another page", "POST", "127.0.0.1:7070", map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403, "E-origin"},
		{"of another page with the token", "POST", "127.0.0.1:7070", map[string]string{"Sec-Fetch-Site": "cross-site",
			"Authorization": "Bearer " + token}, 403, "E-origin"},
		{"of another port of this machine", "POST", "127.0.0.1:7070", map[string]string{"Sec-Fetch-Site": "same-site"}, 403, "E-origin"},
		{"of a page of no origin", "POST", "127.0.0.1:7070", map[string]string{"Origin": "null"}, 403, "E-origin"},
		{"typed into the address bar", "POST", "127.0.0.1:7070", map[string]string{"Sec-Fetch-Site": "none"}, 401, "E-token"},
		{"options is a command too", "OPTIONS", "127.0.0.1:7070", nil, 401, "E-token"},
		{"delete", "DELETE", "127.0.0.1:7070", nil, 401, "E-token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, reached := server(t)
			r := httptest.NewRequest(c.method, "/api/v1/x", nil)
			r.Host = c.host
			for k, v := range c.header {
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.status || (*reached == 1) != (c.status == 200) {
				t.Fatalf("status %d, reached %d times, want %d: %s", w.Code, *reached, c.status, w.Body)
			}
			if c.code != "" && refusal(t, w).Code != c.code {
				t.Errorf("refused with %s, want %s", w.Body, c.code)
			}
			if p := w.Header().Get("Content-Security-Policy"); p == "" || strings.Contains(p, "unsafe") {
				t.Errorf("content security policy %q", p)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("headers %v", w.Header())
			}
		})
	}
}

func TestGuardWithoutTokenTakesNone(t *testing.T) {
	h := New(Config{Hosts: LoopbackHosts(1)}, http.NotFoundHandler())
	r := httptest.NewRequest("POST", "/", nil)
	r.Host = "localhost:1"
	r.Header.Set("Authorization", "Bearer ")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("status %d", w.Code)
	}
}

func TestGuardBoundsBodies(t *testing.T) {
	h, _ := server(t)
	r := httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", maxBody+1)))
	r.Host = "localhost:7070"
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d for a body of %d bytes", w.Code, maxBody+1)
	}
}

func TestLoopback(t *testing.T) {
	for ip, want := range map[string]bool{"127.0.0.1": true, "127.8.0.1": true, "::1": true, "0.0.0.0": false, "::": false, "192.0.2.7": false} {
		if got := Loopback(&net.TCPAddr{IP: net.ParseIP(ip)}); got != want {
			t.Errorf("%s: loopback %v", ip, got)
		}
	}
	if Loopback(&net.UnixAddr{}) {
		t.Error("a socket file is no loopback address")
	}
	if !slices.Contains(LoopbackHosts(1), "[::1]:1") {
		t.Error(LoopbackHosts(1))
	}
}

func refusal(t *testing.T, w *httptest.ResponseRecorder) (p Refusal) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Message == "" {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return p
}
