package clock

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const program = `package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	start := time.Now()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(time.Now().Unix(), time.Since(start) > -time.Hour && time.Since(start) < time.Hour)
	}
}
`

// TestClockIsSet sets the clock of a running process an hour forth and back, and looks that its monotonic clock does not mind.
func TestClockIsSet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	flag, err := Overlay(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(dir, "main.go")
	if err := os.WriteFile(main, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "program")
	if out, err := exec.Command("go", "build", flag, "-o", binary, main).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c, err := New(filepath.Join(dir, "clock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), c.Env())
	in, _ := cmd.StdinPipe()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, by := range []time.Duration{0, 2 * time.Hour, -2 * time.Hour, 0} {
		if err := c.Set(by); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte("\n")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, err := out.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		said := strings.Fields(string(buf[:n]))
		at, err := strconv.ParseInt(said[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if off := time.Until(time.Unix(at, 0)) - by; off.Abs() > time.Hour {
			t.Errorf("set by %s, the clock is off by %s", by, off)
		}
		if said[1] != "true" {
			t.Errorf("set by %s, the monotonic clock jumped", by)
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}
