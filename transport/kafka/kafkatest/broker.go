package kafkatest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Options describe a broker; the zero value is one without passwords or encryption, in a folder of its own.
type Options struct {
	Dir       string            // of its data and log; made if missing; empty is a temporary one that Stop removes
	Settings  map[string]string // of server.properties, over the defaults
	Format    []string          // more arguments of the storage tool, such as --add-scram
	Listeners map[string]string // more listeners: name and protocol, such as MUTUAL and SSL
	Heap      string            // 512m
	Java      []string          // more arguments of the server's JVM, such as -XX:TieredStopAtLevel=4 where it is to be measured

	// Advertise, if there is one, is told where a further listener listens, before the server starts, and returns the address
	// that the server tells its clients instead: of a proxy to it, say.
	Advertise func(listener, address string) (string, error)
}

// A Broker is one running Kafka server.
type Broker struct {
	Address   string            // host:port of the listener in plain text, where everything is allowed
	Listeners map[string]string // host:port of the others as clients are told it, by name
	Dir       string

	options Options
	jars    string
	process *exec.Cmd
	exited  chan struct{}
	own     bool
	dump    string // of loaded classes, when the server ends in peace
}

// Start starts a broker and returns when it answers. The error says what is missing, or shows the end of the server's log.
func Start(ctx context.Context, o Options) (*Broker, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return nil, errors.New("no java for Kafka: apt-get install openjdk-17-jre-headless maven")
	}
	b := &Broker{options: o, Dir: o.Dir}
	var err error
	if b.jars, err = Jars(ctx); err != nil {
		return nil, err
	}
	if b.Dir == "" {
		b.own = true
		if b.Dir, err = os.MkdirTemp("", "milepost-kafka-"); err != nil {
			return nil, err
		}
	}
	if err = os.MkdirAll(b.Dir, 0o700); err == nil {
		err = b.configure(ctx)
	}
	if err == nil {
		err = b.Restart(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, b.Stop())
	}
	return b, nil
}

// Running says whether the server's process has not ended.
func (b *Broker) Running() bool {
	select {
	case <-b.exited:
		return false
	default:
		return b.exited != nil
	}
}

// Pid is the server's process.
func (b *Broker) Pid() int { return b.process.Process.Pid }

// configure writes server.properties and formats the storage, if that was not done before.
func (b *Broker) configure(ctx context.Context) error {
	properties := filepath.Join(b.Dir, "server.properties")
	if old, err := os.ReadFile(properties); err == nil { // its topics name the address
		if _, rest, ok := strings.Cut(string(old), addressMark); ok {
			b.Address, _, _ = strings.Cut(rest, "\n")
			return nil
		}
	}
	names := slices.Sorted(maps.Keys(b.options.Listeners))
	ports, err := freePorts(2 + len(names))
	if err != nil {
		return err
	}
	address := func(n int) string { return fmt.Sprintf("127.0.0.1:%d", ports[n]) }
	b.Address, b.Listeners = address(0), map[string]string{}
	listen := map[string]string{}
	for n, name := range names {
		listen[name], b.Listeners[name] = address(2+n), address(2+n)
		if b.options.Advertise == nil {
			continue
		}
		if b.Listeners[name], err = b.options.Advertise(name, listen[name]); err != nil {
			return err
		}
	}
	if err := os.WriteFile(properties, b.properties(address(1), listen), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.Dir, "log4j2.properties"), []byte(logging), 0o600); err != nil {
		return err
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	// As one word: an id may begin with a dash.
	args := append([]string{"format", "--cluster-id=" + base64.RawURLEncoding.EncodeToString(id), "-c", properties}, b.options.Format...)
	if out, err := b.java(ctx, "kafka.tools.StorageTool", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("format Kafka's storage: %w\n%s", err, out)
	}
	return nil
}

const addressMark = "# clients: "

// properties is server.properties: a single node's settings, with where its controller and its further listeners listen.
// Auto-creation is off, so that a forgotten topic shows.
func (b *Broker) properties(controller string, listen map[string]string) []byte {
	s := map[string]string{
		"process.roles":                    "broker,controller",
		"node.id":                          "1",
		"controller.quorum.voters":         "1@" + controller,
		"controller.listener.names":        "CONTROLLER",
		"listeners":                        "PLAIN://" + b.Address + ",CONTROLLER://" + controller,
		"advertised.listeners":             "PLAIN://" + b.Address,
		"inter.broker.listener.name":       "PLAIN",
		"listener.security.protocol.map":   "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs":                         filepath.Join(b.Dir, "log"),
		"auto.create.topics.enable":        "false",
		"group.initial.rebalance.delay.ms": "0",
		"log.cleaner.dedupe.buffer.size":   "16777216",
	}
	for name, address := range listen {
		s["listeners"] += "," + name + "://" + address
		s["advertised.listeners"] += "," + name + "://" + b.Listeners[name]
		s["listener.security.protocol.map"] += "," + name + ":" + b.options.Listeners[name]
	}
	for _, topic := range []string{"offsets.topic", "transaction.state.log", "share.coordinator.state.topic"} {
		s[topic+".num.partitions"], s[topic+".replication.factor"] = "4", "1"
	}
	s["transaction.state.log.min.isr"], s["share.coordinator.state.topic.min.isr"] = "1", "1"
	maps.Copy(s, b.options.Settings)
	var text bytes.Buffer
	fmt.Fprintln(&text, addressMark+b.Address)
	for _, k := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&text, "%s=%s\n", k, s[k])
	}
	return text.Bytes()
}

const logging = `rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = Console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1} %m%n
`

// java is a call of one of Kafka's programs.
func (b *Broker) java(ctx context.Context, class string, args ...string) *exec.Cmd {
	heap := b.options.Heap
	if heap == "" {
		heap = "512m"
	}
	// A test's broker does not live long enough for the second compiler to pay, nor for loading its classes one by one.
	all := []string{"-Xmx" + heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(b.jars, "*"),
		"-Dlog4j2.configurationFile=file:" + filepath.Join(b.Dir, "log4j2.properties")}
	if _, err := os.Stat(b.archive()); err == nil {
		all = append(all, "-XX:SharedArchiveFile="+b.archive(), "-Xlog:cds=off", "-Xlog:class+path=off")
	} else if class == serverClass {
		b.dump = fmt.Sprintf("%s.%d", b.archive(), os.Getpid())
		all = append(all, "-XX:ArchiveClassesAtExit="+b.dump, "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
	}
	return exec.CommandContext(ctx, "java", append(append(append(all, b.options.Java...), class), args...)...)
}

// serverClass is the server's program.
const serverClass = "kafka.Kafka"

// archive is where the classes that a server has loaded are kept, so that the next ones start in a third of the time. Who stops in
// peace and finds none leaves it behind.
func (b *Broker) archive() string { return b.jars + ".jsa" }

// Restart starts the server, which must not run, over the data that it had before, and returns when it answers.
func (b *Broker) Restart(ctx context.Context) error {
	out, err := os.OpenFile(filepath.Join(b.Dir, "server.out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	b.process = b.java(context.WithoutCancel(ctx), serverClass, filepath.Join(b.Dir, "server.properties"))
	b.process.Stdout, b.process.Stderr = out, out
	b.process.SysProcAttr = withParent()
	b.exited = make(chan struct{})
	started := make(chan error)
	go func(c *exec.Cmd, exited chan struct{}) {
		runtime.LockOSThread() // the parent that must not end is the thread
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := c.Start()
		started <- err
		if err == nil {
			_ = c.Wait()
		}
	}(b.process, b.exited)
	if err := <-started; err != nil {
		return err
	}
	return b.ready(ctx)
}

// ready waits until the server answers a client.
func (b *Broker) ready(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Address), kgo.DisableClientMetrics())
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for {
		asked, stop := context.WithTimeout(ctx, 5*time.Second)
		err := client.Ping(asked)
		stop()
		if err == nil {
			return nil
		}
		select {
		case <-b.exited:
			return fmt.Errorf("the Kafka server ended at once:\n%s", b.Log())
		case <-ctx.Done():
			return fmt.Errorf("the Kafka server does not answer at %s: %w\n%s", b.Address, err, b.Log())
		case <-retry.C:
		}
	}
}

// Log is the end of what the server wrote.
func (b *Broker) Log() string {
	text, _ := os.ReadFile(filepath.Join(b.Dir, "server.out"))
	return string(text[max(0, len(text)-4000):])
}

// Kill ends the server as a power cut would, by its pid.
func (b *Broker) Kill() error {
	b.end(syscall.SIGKILL)
	return nil
}

// Freeze stops the server's process without ending it, until Thaw.
func (b *Broker) Freeze() error { return b.process.Process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (b *Broker) Thaw() error { return b.process.Process.Signal(syscall.SIGCONT) }

// Stop ends the server in peace and removes its folder if that is its own. It may be called twice.
func (b *Broker) Stop() error {
	var err error
	switch peaceful := b.end(syscall.SIGTERM); {
	case b.dump == "":
	case peaceful:
		_ = os.Rename(b.dump, b.archive()) // if it is not there, the next one tries again
	default:
		err = os.RemoveAll(b.dump) // it may be half of one
	}
	b.dump = ""
	if b.own {
		err = errors.Join(err, os.RemoveAll(b.Dir))
	}
	return err
}

// end signals the server and waits for its end; one that does not follow is killed, and it is false then.
func (b *Broker) end(signal syscall.Signal) bool {
	if b.process == nil || b.process.Process == nil {
		return true
	}
	_ = b.process.Process.Signal(signal)
	t := time.NewTimer(2 * time.Minute)
	defer t.Stop()
	select {
	case <-b.exited:
	case <-t.C:
		_ = b.process.Process.Kill()
		<-b.exited
		return false
	}
	return true
}

// freePorts finds ports of loopback that nobody uses now.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all of them at once, or the same one comes twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
