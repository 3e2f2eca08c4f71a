package api

import "crypto/rand"

// An Endpoint is where a running server is reached, and what commands show it: address and token of the file that it keeps in
// its state directory.
type Endpoint struct {
	Address string // host:port
	Token   string
}

// NewToken makes a token of at least 128 random bits.
func NewToken() string { return rand.Text() }

// URL is the address of the dashboard.
func (e Endpoint) URL() string { return "http://" + e.Address }
