//go:build postgres

package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A server is a real PostgreSQL on loopback, in a folder of its own.
type server struct {
	dir     string
	port    int
	process *exec.Cmd
	as      *syscall.Credential
	bin     string
}

const install = "apt-get install postgresql"

// find looks for PostgreSQL's programs, which Debian does not put on the path.
func find() (bin string, err error) {
	if at, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(at), nil
	}
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(all) == 0 {
		return "", errors.New("no PostgreSQL: " + install)
	}
	return filepath.Dir(all[len(all)-1]), nil
}

// startServer starts one, as somebody else where we are root, which PostgreSQL refuses to be.
func startServer(ctx context.Context) (s *server, err error) {
	s = &server{}
	if s.bin, err = find(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "milepost-postgres-"); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, fmt.Errorf("no user for PostgreSQL, which does not run as root: %s (%w)", install, err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte("pa55word\n"), 0o644); err != nil {
		return nil, err
	}
	if out, err := s.command(ctx, "initdb", "-D", filepath.Join(s.dir, "data"), "-U", "root", "-A", "scram-sha-256", "--pwfile", password, "-E", "UTF8", "--no-sync").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s, s.start(ctx)
}

func (s *server) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	c.Dir = s.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Pdeathsig: syscall.SIGKILL}
	return c
}

// start starts the server over its data and returns when it answers.
func (s *server) start(ctx context.Context) error {
	s.process = s.command(context.WithoutCancel(ctx), "postgres", "-D", filepath.Join(s.dir, "data"), "-p", strconv.Itoa(s.port), "-k", s.dir, "-c", "listen_addresses=127.0.0.1",
		"-c", "fsync=off") // what is killed is the server, not the machine
	out, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	s.process.Stdout, s.process.Stderr = out, out
	if err := s.process.Start(); err != nil {
		return err
	}
	db, err := sql.Open("pgx", s.dsn("root", "pa55word", "postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for again := time.NewTicker(200 * time.Millisecond); ; {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, text)
		}
	}
}

// kill ends all of the server at once, as a crash of it does.
func (s *server) kill() {
	_ = s.process.Process.Signal(syscall.SIGQUIT) // immediate: no checkpoint, the next start recovers from the log
	_ = s.process.Wait()
}

func (s *server) stop() error {
	s.kill()
	return os.RemoveAll(s.dir)
}

func (s *server) dsn(name, password, database string) string {
	return (&url.URL{Scheme: "postgres", User: url.UserPassword(name, password), Host: fmt.Sprintf("127.0.0.1:%d", s.port), Path: database}).String()
}

// shared is the server of all tests.
var shared *server

func TestMain(m *testing.M) {
	var err error
	if shared, err = startServer(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// root is a connection of the administrator's.
func root(t testing.TB, database string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", shared.dsn("root", "pa55word", database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func do(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}
