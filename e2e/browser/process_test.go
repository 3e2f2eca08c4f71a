//go:build browser

package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// process is a `milepost run` on a terminal of its own, so that it goes on serving after the end.
type process struct {
	cmd   *exec.Cmd
	url   string
	state string // directory
	out   *strings.Builder
	ended chan error
}

// drives makes a folder with the sample recordings and one that a recorder left cut off.
func drives(folder string) error {
	samples, err := filepath.Glob("../../samples/*.mf4")
	if err != nil || len(samples) == 0 {
		return fmt.Errorf("no sample recordings: run `make samples` (%w)", err)
	}
	for _, s := range samples {
		data, err := os.ReadFile(s)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(s)), data, 0o600); err != nil {
			return err
		}
		if filepath.Base(s) == "sim_full_braking.mf4" {
			if err := os.WriteFile(filepath.Join(folder, "sim_cut_off.mf4"), data[:len(data)*2/5], 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// build makes the binary once for all tests.
func build(folder string) (string, error) {
	binary := filepath.Join(folder, "milepost")
	out, err := exec.Command("go", "build", "-o", binary, "../../cmd/milepost").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build milepost: %w\n%s", err, out)
	}
	return binary, nil
}

// start runs the project's own pipelines over the drives, at the given speed, and returns when the API answers.
func start(binary, folder, speed string) (*process, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	p := &process{state: filepath.Join(folder, "state"), out: &strings.Builder{}, ended: make(chan error, 1)}
	p.cmd = exec.Command(binary, "run", "-f", filepath.Join(root, "pipelines.yaml"), "--state", p.state, "--listen", "127.0.0.1:0")
	p.cmd.Dir = folder
	p.cmd.Env = append(os.Environ(), "DRIVES="+filepath.Join(folder, "drives", "*.mf4"), "BINDINGS="+filepath.Join(root, "samples", "signals.yaml"),
		"SPEED="+speed, "TERM=xterm", "CI=", "NO_COLOR=")
	terminal, err := onTerminal(p.cmd)
	if err != nil {
		return nil, err
	}
	addresses := make(chan string, 1)
	go p.read(terminal, addresses)
	select {
	case p.url = <-addresses:
	case err := <-p.ended:
		return nil, fmt.Errorf("milepost ended: %w\n%s", err, p.out)
	}
	return p, nil
}

// onTerminal starts the command with a pseudo-terminal as its standard streams.
func onTerminal(c *exec.Cmd) (io.Reader, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		return nil, err
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer slave.Close()
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return master, c.Start()
}

var dashboardLine = regexp.MustCompile(`http://[0-9.:]+/p/[a-z0-9-]+`)

func (p *process) read(terminal io.Reader, addresses chan<- string) {
	lines := bufio.NewScanner(terminal)
	lines.Buffer(make([]byte, 1<<16), 1<<20)
	sent := false
	for lines.Scan() {
		p.out.WriteString(lines.Text() + "\n")
		if m := dashboardLine.FindString(lines.Text()); m != "" && !sent {
			sent = true
			addresses <- m[:strings.Index(m, "/p/")]
		}
	}
	p.ended <- p.cmd.Wait()
}

// stop interrupts and waits; it says whether the process left as it should: 0 or 1 by its results.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	err := <-p.ended
	var exit *exec.ExitError
	if errors.As(err, &exit) && (exit.ExitCode() == 1 || exit.ExitCode() == 130) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("milepost ended: %w\n%s", err, p.out)
	}
	return nil
}

// get decodes the API's answer at a path into v.
func (p *process) get(ctx context.Context, path string, v any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(res.Body)
		return fmt.Errorf("%s: %s %s", path, res.Status, body)
	}
	return json.NewDecoder(res.Body).Decode(v)
}

func (p *process) ask(t *testing.T, path string, v any) {
	t.Helper()
	if err := p.get(t.Context(), path, v); err != nil {
		t.Fatal(err)
	}
}
