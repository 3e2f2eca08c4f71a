//go:build e2e && kafka

package kill

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/milepost-dev/milepost/e2e/internal/process"
	"github.com/milepost-dev/milepost/e2e/internal/results"
	"github.com/milepost-dev/milepost/transport/kafka"
	"github.com/milepost-dev/milepost/transport/kafka/kafkatest"
)

// A site is a broker that lets nobody do what he was not allowed to, and its administrator.
type site struct {
	*testing.T
	broker    *kafkatest.Broker
	authority *kafkatest.Authority
	admin     *kadm.Client
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{T: t}
	var err error
	if s.authority, err = kafkatest.NewAuthority(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if s.broker, err = kafkatest.StartGuarded(t.Context(), s.authority); err != nil {
		t.Fatal(err)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(s.broker.Address))
	if err != nil {
		t.Fatal(err)
	}
	s.admin = kadm.NewClient(c)
	t.Cleanup(func() {
		c.Close()
		if err := s.broker.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// allow gives the user what doctor says that he needs for this plan, and no more.
func (s *site) allow(p plan) {
	s.Helper()
	var roles []struct{ Rights []kafka.Right }
	s.must(json.Unmarshal([]byte(lines(s.T, p.folder(s.T), "doctor", "--permissions", "--role", "run", "-o", "json", "-f", "pipelines.yaml")), &roles))
	for _, r := range roles[0].Rights {
		b := map[string]func(*kadm.ACLBuilder, ...string) *kadm.ACLBuilder{"topic": (*kadm.ACLBuilder).Topics, "group": (*kadm.ACLBuilder).Groups,
			"transactional-id": (*kadm.ACLBuilder).TransactionalIDs}[r.Resource](kadm.NewACLs(), r.Names...)
		var operations []kmsg.ACLOperation
		for _, word := range r.Operations {
			var o kmsg.ACLOperation
			s.must(o.UnmarshalText([]byte(word)))
			operations = append(operations, o)
		}
		var pattern kmsg.ACLResourcePatternType
		s.must(pattern.UnmarshalText([]byte(r.Pattern)))
		s.create(b.Operations(operations...).Allow("User:" + kafkatest.User).ResourcePatternType(pattern))
	}
}

func (s *site) create(b *kadm.ACLBuilder) {
	s.Helper()
	all, err := s.admin.CreateACLs(s.Context(), b)
	s.must(err)
	for _, r := range all {
		s.must(r.Err)
	}
}

// denial takes the right to write to one topic away, whatever else allows it.
func denial(topic string) *kadm.ACLBuilder {
	return kadm.NewACLs().Topics(topic).Operations(kmsg.ACLOperationWrite).Deny("User:" + kafkatest.User).ResourcePatternType(kadm.ACLPatternLiteral)
}

func (s *site) undeny(topic string) {
	s.Helper()
	all, err := s.admin.DeleteACLs(s.Context(), denial(topic).DenyHosts())
	s.must(err)
	n := 0
	for _, r := range all {
		s.must(r.Err)
		n += len(r.Deleted)
	}
	if n != 1 {
		s.Fatalf("%d denials were removed, not 1", n)
	}
}

func (s *site) set(topic, key, value string) {
	s.Helper()
	all, err := s.admin.AlterTopicConfigs(s.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, topic)
	s.must(err)
	for _, r := range all {
		s.must(r.Err)
	}
}

// changes of the transport block.
type block struct{ prefix, ca, name, password string }

// plan is the plan on this broker.
func (s *site) plan(p plan, c block) plan {
	b := block{prefix: "mp.", ca: s.authority.File("ca.pem"), name: kafkatest.HostName, password: kafkatest.Password}
	for to, from := range map[*string]string{&b.prefix: c.prefix, &b.ca: c.ca, &b.name: c.name, &b.password: c.password} {
		if from != "" {
			*to = from
		}
	}
	first, rest, _ := strings.Cut(p.yaml, "transport:")
	_, rest, _ = strings.Cut(rest, "\n")
	p.yaml = first + fmt.Sprintf("transport: { kafka: { brokers: [%q], prefix: %q, partitions: 2, sasl: { scram_sha_512: { user: %s, password: %q } }, tls: { ca: %q, server_name: %q } } }\n",
		s.broker.Listeners["LOGIN"], b.prefix, kafkatest.User, b.password, b.ca, b.name) + rest
	return p
}

func (s *site) connect(prefix string) *kafka.Broker {
	s.Helper()
	b, err := kafka.Connect(s.Context(), kafka.Config{Seeds: []string{s.broker.Address}, Prefix: prefix, Partitions: 2})
	s.must(err)
	return b
}

// says waits until the run says something.
func says(t *testing.T, run *program, text string) {
	t.Helper()
	if !run.Until(process.Contains(text)) {
		t.Fatalf("the run ended and did not say %q:\n%s", text, run.Tail())
	}
}

// TestRefusedByKafka: what the broker refuses is told with what to change; once it is changed, everything comes out as on
// embedded JetStream.
func TestRefusedByKafka(t *testing.T) {
	p := samples()
	want, _ := p.undisturbed(t)
	s := newSite(t)
	s.allow(s.plan(p, block{}))
	other, err := kafkatest.NewAuthority(t.TempDir())
	s.must(err)
	for name, c := range map[string]struct {
		block block
		want  string
	}{
		"a wrong CA":       {block{ca: other.File("ca.pem")}, "set transport.kafka.tls.ca"},
		"a wrong name":     {block{name: "elsewhere.test"}, "set transport.kafka.tls.server_name"},
		"a wrong password": {block{password: "other"}, "transport.kafka.sasl"},
		"another prefix":   {block{prefix: "theirs."}, "on topics with the prefix theirs."},
	} {
		t.Run(name, func(t *testing.T) { refused(t, s.plan(p, c.block), 3, c.want) })
	}
	t.Run("too few partitions", func(t *testing.T) {
		_, err := s.admin.CreateTopic(t.Context(), 1, 1, nil, "mp.drives.read")
		s.must(err)
		refused(t, s.plan(p, block{}), 2, "topic mp.drives.read has 1 partitions, not 2\n  next: set transport.kafka.partitions to 1")
		_, err = s.admin.DeleteTopics(t.Context(), "mp.drives.read")
		s.must(err)
	})
	t.Run("no permission on one topic, then events over its limit", func(t *testing.T) {
		s.create(denial("mp.drives.aeb"))
		on := s.plan(p, block{})
		dir := on.folder(t)
		run := on.start(t, dir)
		says(t, run, "allow the user READ, WRITE and DESCRIBE on topics with the prefix mp.")
		s.set("mp.drives.aeb", "max.message.bytes", "100")
		s.undeny("mp.drives.aeb")
		says(t, run, "set max.message.bytes of the topic")
		s.set("mp.drives.aeb", "max.message.bytes", fmt.Sprint(kafka.DefaultMaxMessageBytes))
		if code := run.wait(); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, run.Tail())
		}
		b := s.connect("mp.")
		defer b.Close()
		for _, d := range on.collectFrom(t, dir, b).Diff(want) {
			t.Error(d)
		}
	})
	t.Run("events removed by retention", func(t *testing.T) { s.removed(t, p, want) })
}

// refused: the run ends at once, with the exit code for a broker that does not let us, 3, or for a file that asks for what cannot be, 2,
// and says what to change.
func refused(t *testing.T, p plan, exit int, want string) {
	t.Helper()
	run := p.start(t, p.folder(t))
	code := run.wait()
	if code != exit {
		t.Errorf("exit code %d, want %d", code, exit)
	}
	if said := strings.Join(run.Lines(), "\n"); !strings.Contains(said, want) {
		t.Errorf("%q is not in\n%s", want, said)
	}
}

// removed has the reader's events removed before the next stage could take them: its jobs fail with the reason, and come out
// right when they are run again.
func (s *site) removed(t *testing.T, p plan, want results.Results) {
	const prefix = "gone."
	on := s.plan(p, block{prefix: prefix})
	s.allow(on)
	s.create(denial(prefix + "drives.aeb"))
	dir := on.folder(t)
	run := on.start(t, dir)
	says(t, run, "allow the user READ, WRITE and DESCRIBE")
	run.signal(15)
	run.wait()
	ends, err := s.admin.ListEndOffsets(t.Context(), prefix+"drives.read")
	s.must(err)
	_, err = s.admin.DeleteRecords(t.Context(), ends.Offsets())
	s.must(err)
	s.undeny(prefix + "drives.aeb")
	again := on.start(t, dir)
	if code := again.wait(); code != 1 {
		t.Fatalf("exit code %d, want 1:\n%s", code, again.Tail())
	}
	if shown := lines(t, dir, "jobs", "ls", "-f", "pipelines.yaml", "-o", "json"); !strings.Contains(shown, "retention.ms=-1") || !strings.Contains(shown, "milepost run --again") {
		t.Errorf("the jobs do not say what to do:\n%s", shown)
	}
	last := on.start(t, dir, "--again")
	if code := last.wait(); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, last.Tail())
	}
	got := results.Results{}
	s.must(got.AddFiles(dir + "/out"))
	documents := func(r results.Results) results.Results {
		kept := maps.Clone(r)
		maps.DeleteFunc(kept, func(name, _ string) bool { return !strings.HasPrefix(name, "file results/") })
		return kept
	}
	for _, d := range documents(got).Diff(documents(want)) {
		t.Error(d)
	}
}
