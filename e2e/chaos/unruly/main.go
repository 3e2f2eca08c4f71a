// Command unruly is milepost for those who start it, and kills it again and again before it lets it end.
//
//	MILEPOST=bin/milepost DEATHS=20 unruly run -f pipelines.yaml …
//
// Whatever works with milepost's results can so be tried under kills: make corpus-chaos compares those of the corpus with what is
// expected. Between two deaths lie longer and longer times, so that it comes to its end; the number of deaths goes to stderr.
package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"time"
)

func main() {
	deaths, err := strconv.Atoi(os.Getenv("DEATHS"))
	if err != nil || os.Getenv("MILEPOST") == "" {
		fmt.Fprintln(os.Stderr, "unruly: DEATHS and MILEPOST are not given")
		os.Exit(2)
	}
	died := 0
	for {
		code, killed := run(died < deaths, 150*time.Millisecond+time.Duration(rand.Int64N(int64(400*time.Millisecond)))+time.Duration(died)*20*time.Millisecond)
		if !killed {
			fmt.Fprintf(os.Stderr, "unruly: %d deaths\n", died)
			os.Exit(code)
		}
		died++
	}
}

// run starts milepost once. It is killed after a while, unless it is to live or ends before.
func run(kill bool, after time.Duration) (code int, killed bool) {
	c := exec.Command(os.Getenv("MILEPOST"), os.Args[1:]...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "unruly:", err)
		return 2, false
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // the exit code says it
		close(ended)
	}()
	if kill {
		select {
		case <-ended:
		case <-time.After(after):
			killed = c.Process.Kill() == nil
		}
	}
	<-ended
	code = c.ProcessState.ExitCode()
	return code, killed && code == -1
}
