package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

	"github.com/milepost-dev/milepost/transport"
)

// DefaultMaxEvent is the largest event data an embedded server takes where its configuration does not say.
const DefaultMaxEvent = 8 << 20

// Sync says when the embedded server has its files written through to the disk.
type Sync string

// The two ways. What they mean for an append that was answered: with SyncAlways it survives a power cut; with SyncLater it
// survives the death of the process, and a power cut may take the last EmbeddedConfig.SyncEvery. Prices stand in the README.
const (
	SyncAlways Sync = "always" // before each answer; the default
	SyncLater  Sync = "later"  // every EmbeddedConfig.SyncEvery
)

// DefaultSyncEvery is how often an embedded server looks after its files: it writes through what SyncLater left, and gives
// back the room of what was trimmed, on the disk and in memory. The server's own default, two minutes, is for disks that
// nobody trims: at 30 MB/s it held on to 4 GB of removed events.
const DefaultSyncEvery = 2 * time.Second

// An EmbeddedConfig describes a server inside the process.
type EmbeddedConfig struct {
	Dir           string        // of the store; made if missing. One process at a time may use it, which the caller sees to
	Sync          Sync          // "" is SyncAlways
	SyncEvery     time.Duration // longest time between two looks after the files; 0 or more than DefaultSyncEvery is that
	MaxStoreBytes int64         // of all logs together; 0 is what the disk has (the server takes three quarters of it)
	MaxEvent      int           // largest event data, bytes; 0 is DefaultMaxEvent
	Timeout       time.Duration // of one request; 0 is 10 s
	Log           *slog.Logger  // the server's own words, at debug but for warnings and errors; nil is slog.Default
}

// maxPendingBytes is what the server keeps for a connection that is slow to read before it cuts it. The only connections
// are our own, and each reader's window is limited in bytes, so this is a net and not a limit.
const maxPendingBytes = 512 << 20

// Embedded starts a JetStream server inside the process, without any listening socket, and connects to it through memory.
// The error is ErrUnreachable when it does not come up, and names the folder.
func Embedded(ctx context.Context, c EmbeddedConfig) (*Broker, error) {
	if c.Dir == "" {
		return nil, errors.New("embedded NATS: no store folder")
	}
	if c.Sync == "" {
		c.Sync = SyncAlways
	}
	if c.Sync != SyncAlways && c.Sync != SyncLater {
		return nil, fmt.Errorf("embedded NATS: sync is %q, not %s or %s", c.Sync, SyncAlways, SyncLater)
	}
	b := newBroker(c.Log, c.Timeout)
	b.address = c.Dir
	if err := b.serve(ctx, c); err != nil {
		return nil, fmt.Errorf("start embedded NATS in %s: %w (%w)", c.Dir, transport.ErrUnreachable, err)
	}
	return b, nil
}

func (b *Broker) serve(ctx context.Context, c EmbeddedConfig) (err error) {
	if b.server, err = server.NewServer(serverOptions(c)); err != nil {
		return err
	}
	words := serverLog{b.slog, make(chan error, 1)}
	b.server.SetLoggerV2(words, false, false, false)
	b.server.Start() // reads the store; what goes wrong is only logged
	if err = words.died(); err == nil && !b.server.ReadyForConnections(b.startLimit(ctx)) {
		err = errors.New("it is not ready in time")
	}
	if err == nil {
		err = b.connect(ctx, "", append(b.options(ctx), nats.Name("milepost"), nats.InProcessServer(b.server)))
	}
	if err != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
	return err
}

// startLimit is how long the server may take to read its store: a large one is read whole after a crash.
func (b *Broker) startLimit(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return time.Until(end)
	}
	return 10 * time.Minute
}

func serverOptions(c EmbeddedConfig) *server.Options {
	if c.MaxEvent == 0 {
		c.MaxEvent = DefaultMaxEvent
	}
	if c.MaxStoreBytes == 0 {
		c.MaxStoreBytes = capacity(c.Dir)
	}
	o := &server.Options{
		ServerName: "milepost", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: c.Dir, JetStreamMaxStore: c.MaxStoreBytes,
		MaxPayload: int32(c.MaxEvent) + headerRoom, MaxPending: maxPendingBytes,
	}
	o.SyncAlways, o.SyncInterval = c.Sync == SyncAlways, DefaultSyncEvery
	if c.SyncEvery > 0 {
		o.SyncInterval = min(c.SyncEvery, DefaultSyncEvery)
	}
	return o
}

// capacity is most of the size of the disk that a folder is to lie on, 0 if it cannot be told. The server would take three quarters of
// what is free when it starts, and keep to that: on a disk that was full for a moment it would store nothing ever after. A tenth
// is left to the results that lie on the same disk.
func capacity(dir string) int64 {
	var fs unix.Statfs_t
	for err := unix.Statfs(dir, &fs); err != nil; err = unix.Statfs(dir, &fs) { // it may still have to be made
		parent := filepath.Dir(dir)
		if parent == dir {
			return 0
		}
		dir = parent
	}
	return int64(fs.Blocks) / 10 * 9 * int64(fs.Bsize)
}

// serverLog hands the server's words to slog. The server expects Fatalf to end the process; here the first is kept.
type serverLog struct {
	*slog.Logger
	fatal chan error
}

// died returns what the server took for fatal.
func (l serverLog) died() error {
	select {
	case err := <-l.fatal:
		return err
	default:
		return nil
	}
}

func (l serverLog) say(level slog.Level, format string, v []any) {
	if l.Enabled(context.Background(), level) {
		l.Log(context.Background(), level, fmt.Sprintf(format, v...), "from", "nats-server")
	}
}

// Noticef and the others are server.Logger. What the server notices is of no interest to a user of a pipeline.
func (l serverLog) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l serverLog) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, "Maximum payloads over") { // which is our own choice: an event of 8 MiB and its headers
		l.say(slog.LevelDebug, format, v)
		return
	}
	l.say(slog.LevelWarn, format, v)
}
func (l serverLog) Errorf(format string, v ...any) { l.say(slog.LevelError, format, v) }

// Fatalf keeps what the server dies of.
func (l serverLog) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Errorf(format, v...):
	default:
		l.say(slog.LevelError, format, v)
	}
}

func (l serverLog) Debugf(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l serverLog) Tracef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
