//go:build containers

package containers

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	tcnetwork "github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/milepost-dev/milepost/e2e/internal/process"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/kafka"
)

// comeUp is when a container is given up.
const comeUp = 3 * time.Minute

// image is the name in the variable, or that of the registry that everybody reaches.
func image(variable, usual string) string {
	if name := os.Getenv(variable); name != "" {
		return name
	}
	return usual
}

// runtime fails the test where no container can be started.
func runtime(t *testing.T) {
	t.Helper()
	p, err := testcontainers.NewDockerProvider()
	if err == nil {
		defer p.Close()
		err = p.Health(t.Context())
	}
	if err != nil {
		t.Fatalf("no container runtime: %v\n  next: start Docker, or set DOCKER_HOST; make e2e-local runs the same cases on processes", err)
	}
}

// up starts a container; it ends with the test, which shows its log when it failed.
func up(t *testing.T, name string, options ...testcontainers.ContainerCustomizer) *testcontainers.DockerContainer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), comeUp)
	defer cancel()
	c, err := testcontainers.Run(ctx, name, options...)
	t.Cleanup(func() {
		if c != nil && t.Failed() {
			if out, err := c.Logs(context.Background()); err == nil {
				text := make([]byte, 8<<10)
				n, _ := out.Read(text)
				t.Logf("%s said:\n%s", name, text[:n])
			}
		}
		if err := testcontainers.TerminateContainer(c); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatalf("start %s: %v\n  next: is the image there? NATS_IMAGE, KAFKA_IMAGE and MILEPOST_IMAGE name others; e2e/containers/images builds the brokers' and make image ours, without a registry", name, err)
	}
	return c
}

// lan is a network of one test, on which a container has a name.
func lan(t *testing.T) *testcontainers.DockerNetwork {
	t.Helper()
	runtime(t)
	n, err := tcnetwork.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// publish has a port of a container answer at an address of loopback.
func publish(t *testing.T, port, address string) testcontainers.CustomizeRequestOption {
	t.Helper()
	host, outside, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return testcontainers.WithHostConfigModifier(func(c *container.HostConfig) {
		c.PortBindings = network.PortMap{network.MustParsePort(port): []network.PortBinding{{HostIP: netip.MustParseAddr(host), HostPort: outside}}}
	})
}

func natsSite(t *testing.T) site {
	t.Helper()
	n := lan(t)
	address := free(t)
	up(t, image("NATS_IMAGE", "nats:2.15.2"), testcontainers.WithCmd("--jetstream", "--store_dir", "/tmp/data"),
		testcontainers.WithExposedPorts("4222/tcp"), publish(t, "4222/tcp", address), tcnetwork.WithNetwork([]string{"nats"}, n),
		testcontainers.WithWaitStrategy(wait.ForLog("Server is ready").WithStartupTimeout(comeUp)))
	url := "nats://" + address
	return site{url: url, connect: connectNATS(url), worker: worker(n, "nats://nats:4222")}
}

func kafkaSite(t *testing.T) site {
	t.Helper()
	n := lan(t)
	address := free(t)
	up(t, image("KAFKA_IMAGE", "apache/kafka:4.1.0"), testcontainers.WithEnv(map[string]string{
		"KAFKA_NODE_ID": "1", "KAFKA_PROCESS_ROLES": "broker,controller", "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
		"KAFKA_CONTROLLER_LISTENER_NAMES":      "CONTROLLER",
		"KAFKA_LISTENERS":                      "INSIDE://:29092,OUTSIDE://:9092,CONTROLLER://:9093",
		"KAFKA_ADVERTISED_LISTENERS":           "INSIDE://kafka:29092,OUTSIDE://" + address,
		"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"KAFKA_INTER_BROKER_LISTENER_NAME":     "INSIDE", "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1", "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
		"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1", "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
		"KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4", "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
	}), testcontainers.WithExposedPorts("9092/tcp"), publish(t, "9092/tcp", address), tcnetwork.WithNetwork([]string{"kafka"}, n))
	b := connectKafkaSoon(t, address)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return site{url: "kafka://" + address, connect: connectKafka(address), worker: worker(n, "kafka://kafka:29092")}
}

// worker is the shipped image: as nobody, with a read-only root, and healthy by its own check.
func worker(n *testcontainers.DockerNetwork, url string) func(t *testing.T, dir string) func() {
	return func(t *testing.T, dir string) func() {
		t.Helper()
		address := free(t)
		c := up(t, image("MILEPOST_IMAGE", "milepost:latest"), testcontainers.WithCmd("worker", "-f", dir+"/pipelines.yaml", "--transport", url, "--retain", "--metrics", "0.0.0.0:9464"),
			testcontainers.WithExposedPorts("9464/tcp"), tcnetwork.WithNetwork([]string{"worker"}, n),
			testcontainers.WithConfigModifier(func(c *container.Config) { c.WorkingDir = dir }),
			testcontainers.WithHostConfigModifier(func(c *container.HostConfig) {
				c.ReadonlyRootfs = true
				c.CapDrop = []string{"ALL"}
				c.Mounts = []mount.Mount{{Type: mount.TypeBind, Source: dir, Target: dir, ReadOnly: true}}
				host, port, _ := net.SplitHostPort(address)
				c.PortBindings = network.PortMap{network.MustParsePort("9464/tcp"): []network.PortBinding{{HostIP: netip.MustParseAddr(host), HostPort: port}}}
			}),
			testcontainers.WithWaitStrategy(wait.NewHealthStrategy().WithStartupTimeout(comeUp)))
		info, err := c.Inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if user := info.Config.User; user == "" || user == "root" || strings.HasPrefix(user, "0") {
			t.Errorf("the image runs as %q", user)
		}
		return func() {
			figures, err := get(t.Context(), fmt.Sprintf("http://%s/metrics", address))
			if err != nil {
				t.Fatal(err)
			}
			looked(t, figures)
			patience := 30 * time.Second
			if err := c.Stop(t.Context(), &patience); err != nil {
				t.Error(err)
			}
			state, err := c.State(t.Context())
			if err != nil || state.ExitCode != 130 {
				t.Errorf("the worker left with %+v, %v; want exit code 130", state, err)
			}
		}
	}
}

func free(t *testing.T) string {
	t.Helper()
	address, err := process.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// connectKafkaSoon waits until the broker answers.
func connectKafkaSoon(t *testing.T, address string) transport.Broker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), comeUp)
	defer cancel()
	for {
		b, err := kafka.Connect(ctx, kafka.Config{Seeds: []string{address}})
		if err == nil {
			return b
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}
