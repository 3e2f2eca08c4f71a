package cmd_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/milepost-dev/milepost/cmd"
	"github.com/milepost-dev/milepost/stages"
)

// terminal opens a terminal: what is written to the one end can be read at the other.
func terminal(t *testing.T) (written *os.File, screen *bufio.Scanner) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if written, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { written.Close() })
	return written, bufio.NewScanner(master)
}

func TestTheDashboardStaysOnATerminalWithoutColourToo(t *testing.T) {
	for _, c := range []struct{ noColor, ci, want string }{{"", "", "redrawn stays"}, {"1", "", "stays"}, {"", "true", ""}} {
		l := setup(t)
		t.Setenv("NO_COLOR", c.noColor)
		t.Setenv("CI", c.ci)
		out, screen := terminal(t)
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan int, 1)
		go func() {
			ended <- cmd.Run(ctx, stages.Standard(), []string{"run", "--listen", "127.0.0.1:0", "-f", l.path("pipelines.yaml")}, strings.NewReader(""), io.Discard, out)
			fmt.Fprintln(out, "\nthat was all")
		}()
		got := map[string]bool{}
		for screen.Scan() && !strings.Contains(screen.Text(), "that was all") {
			if strings.Contains(screen.Text(), "\x1b[") {
				got["redrawn"] = true
			}
			if strings.Contains(screen.Text(), "dashboard stays") {
				got["stays"] = true
				leave()
			}
		}
		leave()
		if code := <-ended; code != 0 {
			t.Errorf("%+v: exit %d", c, code)
		}
		if all := strings.Join(slices.Sorted(maps.Keys(got)), " "); all != c.want {
			t.Errorf("%+v: %q", c, all)
		}
	}
}
