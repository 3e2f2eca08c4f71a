package api

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// An Endpoint is where a running server is reached and what commands show it. It lies in the state directory, readable by its
// owner alone.
type Endpoint struct {
	Address string    `json:"address"` // host:port
	PID     int       `json:"pid"`
	Token   string    `json:"token"`
	Started time.Time `json:"started"`
}

// endpointFile is its name in the state directory.
const endpointFile = "endpoint.json"

// ErrNoEndpoint says that nobody serves the state directory.
var ErrNoEndpoint = errors.New("no running milepost here")

// NewToken makes a token of 130 random bits.
func NewToken() string { return rand.Text() }

// URL is the address of the dashboard.
func (e Endpoint) URL() string { return "http://" + e.Address }

// Write stores the endpoint in a state directory, in one step.
func (e Endpoint) Write(dir string) error {
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, endpointFile+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the server's address: %w", err)
	}
	_, err = tmp.Write(append(data, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dir, endpointFile))
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("write the server's address: %w", err)
	}
	return nil
}

// ReadEndpoint reads what a server wrote; ErrNoEndpoint when there is nothing. A killed server leaves it behind: whether one is
// running, the directory's lock says.
func ReadEndpoint(dir string) (Endpoint, error) {
	var e Endpoint
	data, err := os.ReadFile(filepath.Join(dir, endpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return e, fmt.Errorf("%s: %w", dir, ErrNoEndpoint)
	}
	if err == nil {
		err = json.Unmarshal(data, &e)
	}
	if err != nil {
		return e, fmt.Errorf("read the server's address: %w", err)
	}
	return e, nil
}

// RemoveEndpoint removes it when the server ends; nothing there is no error.
func RemoveEndpoint(dir string) error {
	if err := os.Remove(filepath.Join(dir, endpointFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
