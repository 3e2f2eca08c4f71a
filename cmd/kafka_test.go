package cmd_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/kafka"
	"github.com/milepost-dev/milepost/transport/kafka/kafkatest"
)

// fakeKafka is a cluster in this process.
func fakeKafka(t *testing.T, o ...kfake.Opt) (address string) {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, o...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0]
}

func authority(t *testing.T) *kafkatest.Authority {
	t.Helper()
	a, err := kafkatest.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// on has the folder's pipelines file name another transport.
func (l *line) on(block string) {
	l.t.Helper()
	_, rest, _ := strings.Cut(l.read("pipelines.yaml"), "\nsinks:")
	l.write("pipelines.yaml", "version: 1\n"+block+"sinks:"+rest)
}

// TestKafkaDoesNotLetUsIn: the wrong authority or name is exit code 3 with what to change, of a run and of doctor. The wrong password,
// which the fake does not answer, is one of kill.TestRefusedByKafka.
func TestKafkaDoesNotLetUsIn(t *testing.T) {
	a, other := authority(t), authority(t)
	if err := a.Issue("server", kafkatest.HostName); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(a.File("server.pem"), a.File("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	safe := fakeKafka(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "u", "right"))
	block := func(address, ca, name, password string) string {
		return fmt.Sprintf("transport: { kafka: { brokers: %q, sasl: { scram_sha_512: { user: u, password: %q } }, tls: { ca: %q, server_name: %q } } }\n", address, password, ca, name)
	}
	for name, c := range map[string]struct{ block, next string }{
		"authority": {block(safe, other.File("ca.pem"), kafkatest.HostName, "right"), "set transport.kafka.tls.ca"},
		"name":      {block(safe, a.File("ca.pem"), "elsewhere.test", "right"), "set transport.kafka.tls.server_name"},
	} {
		t.Run(name, func(t *testing.T) {
			l := setup(t)
			l.on(c.block)
			l.run(3, "run", "--exit", "--state", l.path("state"))
			l.wants(l.stderr.String(), "[E-transport]\n  next: ", c.next)
			l.found(l.examine(3, "--state", l.path("state")), "FAIL", "transport", c.next)
		})
	}
}

// rights are what doctor prints that the user of a role needs.
type rights struct {
	Role   string
	Rights []struct {
		Resource, Pattern string
		Names, Operations []string
	}
}

// users are what a fake cluster has to know so that each role's user may do what doctor prints, and no more.
func (l *line) users() (o []kfake.Opt) {
	l.t.Helper()
	var roles []rights
	if err := json.Unmarshal([]byte(l.run(0, "doctor", "--permissions", "-o", "json", "--stages", "aeb,kpi")), &roles); err != nil || len(roles) != 3 {
		l.t.Fatalf("%d roles, %v", len(roles), err)
	}
	for _, role := range roles {
		var acls []kfake.ACL
		for _, r := range role.Rights {
			var a kfake.ACL
			for text, into := range map[string]interface{ UnmarshalText([]byte) error }{r.Resource: &a.Resource, r.Pattern: &a.Pattern} {
				if err := into.UnmarshalText([]byte(text)); err != nil {
					l.t.Fatal(err)
				}
			}
			for _, a.Name = range r.Names {
				for _, word := range r.Operations {
					if err := a.Operation.UnmarshalText([]byte(word)); err != nil {
						l.t.Fatal(err)
					}
					a.Allow = true
					acls = append(acls, a)
				}
			}
		}
		o = append(o, kfake.User("PLAIN", role.Role, "pass", acls...))
	}
	return append(o, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "root", "pass"))
}

func kafkaAs(address, user, more string) string {
	return fmt.Sprintf("transport: { kafka: { brokers: %q, partitions: 2, sasl: { plain: { user: %s, password: pass } }%s } }\n", address, user, more)
}

// TestDoctorOnKafka: rights, topics, their settings and the brokers are looked at; each fault comes with what mends it.
func TestDoctorOnKafka(t *testing.T) {
	l := setup(t)
	l.on(kafkaAs("127.0.0.1:1", "run", ""))
	l.wants(l.run(0, "doctor", "--permissions", "--role", "worker", "--stages", "kpi"), "# role worker: milepost worker --stages kpi\n",
		"kafka-acls.sh --bootstrap-server 127.0.0.1:1 --add --allow-principal User:worker --operation Read --operation Describe --resource-pattern-type literal --topic 'mp.aeb.",
		" --transactional-id 'mp.aeb.kpi/'", "--operation Read --resource-pattern-type prefixed --group 'mp.aeb.job.'\n")
	address := fakeKafka(t, l.users()...)
	examine := func(user, more string, code int, args ...string) []finding {
		l.on(kafkaAs(address, user, more))
		return l.examine(code, append(args, "--role", user, "--state", l.path("state"))...)
	}
	all := examine("run", "", 0)
	l.found(all, "ok", "transport", "1 broker, replication 1")
	l.found(all, "ok", "permissions", "run")
	l.found(all, "ok", "topics", "0 of 12 logs are there, the rest is made by milepost run")
	l.found(examine("run", ", replication: 3", 1), "FAIL", "topics", "the cluster has 1 brokers", "transport.kafka.replication to 1")
	for _, user := range []string{"worker", "reader"} { // nothing is there, and it is not theirs to make it
		l.found(examine(user, "", 0, "--stages", "aeb,kpi"), "ok", "permissions", user)
	}
	admin, err := kafka.Connect(t.Context(), kafka.Config{Seeds: []string{address}, SASL: kafka.Plain("root", "pass"), Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for _, stage := range []string{"job", "read", "aeb", "kpi"} {
		if _, err := admin.Log(t.Context(), transport.LogConfig{Pipeline: "aeb", Stage: stage}); err != nil {
			t.Fatal(err)
		}
	}
	l.found(examine("run", "", 0), "ok", "topics", "4 of 12 logs are there")
	l.found(examine("worker", "", 0, "--stages", "aeb,kpi"), "ok", "permissions", "worker")
	l.found(examine("reader", "", 0), "ok", "permissions", "reader")
	l.on(kafkaAs(address, "reader", ""))
	all = l.examine(1, "--role", "run", "--state", l.path("state"))
	l.found(all, "FAIL", "permissions", "role run may not", "Create topic mp.aeb.", "and ", "milepost doctor --permissions --role run")
	l.on(kafkaAs(address, "worker", ""))
	l.found(l.examine(1, "--role", "worker", "--state", l.path("state")), "FAIL", "permissions", "role worker may not", "Write topic mp.aeb.read", "transactional-id mp.aeb.read/0")
	l.on(strings.Replace(kafkaAs(address, "run", ""), "partitions: 2", "partitions: 4", 1))
	l.found(l.examine(1, "--state", l.path("state")), "FAIL", "topics", "mp.aeb.read has 2 partitions, not 4", "set transport.kafka.partitions to 2")
	l.found(examine("run", ", max_message_bytes: 4MB", 1), "FAIL", "topics", "kafka-configs.sh --alter --topic mp.aeb.read --add-config max.message.bytes=4000000")
}
