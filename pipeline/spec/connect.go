package spec

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
)

func defaultEmbedded() *Embedded { return &Embedded{Dir: "./.milepost"} }
func defaultNATS() *NATS         { return &NATS{Replicas: 1} }

func defaultKafka() *Kafka {
	return &Kafka{Prefix: "mp.", Replication: 1, Partitions: 8, MaxMessageBytes: 1 << 20, Commit: Commit{Events: 10_000, Interval: 50 * time.Millisecond}}
}

var transportKinds = []string{"embedded", "nats", "kafka", "memory"}

// transport decodes the block; without one it is a server in this process, its files in ./.milepost.
func (l *loader) transport(n *node) {
	t := &l.spec.Transport
	if n.null() {
		t.Embedded = defaultEmbedded()
		return
	}
	if n.broken {
		return
	}
	if n.kind != mapKind || len(n.fields) != 1 {
		l.report(n.pos, CodeValue, "transport: want one of %s; have %s", orList(transportKinds), n.show())
		return
	}
	f := n.fields[0]
	if !slices.Contains(transportKinds, f.key.text) {
		p := l.report(f.key.pos, CodeField, "unknown transport %q", f.key.text)
		if p.Meant = pipeline.Nearest(f.key.text, transportKinds); p.Meant == "" {
			p.Hint = "there are: " + strings.Join(transportKinds, ", ")
		}
		return
	}
	if f.value.null() {
		f.value = &node{pos: f.key.pos, kind: mapKind}
	}
	l.transportOf(t, f)
}

func (l *loader) transportOf(t *Transport, f *field) {
	d := &decoder{l: l, where: "transport." + f.key.text}
	switch f.key.text {
	case "embedded":
		t.Embedded = defaultEmbedded()
		d.decode(f.value, reflect.ValueOf(t.Embedded).Elem())
	case "nats":
		t.NATS = defaultNATS()
		d.decode(f.value, reflect.ValueOf(t.NATS).Elem())
		t.NATS.URL = splitCommas(t.NATS.URL)
		l.nats(f.value, t.NATS)
	case "kafka":
		t.Kafka = defaultKafka()
		d.decode(f.value, reflect.ValueOf(t.Kafka).Elem())
		t.Kafka.Brokers = splitCommas(t.Kafka.Brokers)
		l.sasl(f.value.get("sasl"), t.Kafka.SASL)
		l.kafka(f.value, t.Kafka)
	case "memory":
		t.Memory = &Memory{}
		d.decode(f.value, reflect.ValueOf(t.Memory).Elem())
	}
	if limits := f.value.get("limits"); limits != nil {
		l.maxBytes = limits.get("max_bytes")
	}
}

// nats refuses logins that cannot be meant, and hides passwords and tokens that stand in addresses.
func (l *loader) nats(n *node, t *NATS) {
	var ways []string
	for _, w := range []struct{ key, value string }{{"creds", t.Creds}, {"nkey", t.NKey}, {"token", t.Token}, {"user", t.User}} {
		if w.value != "" {
			ways = append(ways, w.key)
		}
	}
	if len(ways) > 1 {
		l.report(n.get(ways[1]).pos, CodeValue, "transport.nats: %s both say who we are: give one", strings.Join(ways, " and "))
	}
	if t.Password != "" && t.User == "" {
		l.report(n.get("password").pos, CodeField, "transport.nats: password without user")
	}
	for _, w := range []struct{ key, value, has, file string }{{"creds", t.Creds, "BEGIN NATS USER JWT", "secrets/nats.creds"}, {"nkey", t.NKey, "SU", "secrets/user.nk"}} {
		if at := n.get(w.key); w.value != "" && at != nil && !at.broken && !strings.Contains(w.value, w.has) {
			p := l.report(at.pos, CodeValue, "transport.nats: %s is the text of the file, and this is not", w.key)
			p.Hint = "want \"${file:" + w.file + "}\""
		}
	}
	if tls := t.TLS; tls != nil && (tls.Cert == "") != (tls.Key == "") {
		l.report(n.get("tls").pos, CodeField, "transport.nats.tls: cert and key go together")
	}
	hideLogins(n.get("url"))
}

// hideLogins marks addresses with a user in them as secret.
func hideLogins(n *node) {
	if n == nil {
		return
	}
	n.secret = n.secret || n.scalar() && strings.Contains(n.text, "@")
	for _, i := range n.items {
		hideLogins(i)
	}
}

func (l *loader) sasl(n *node, s *SASL) {
	if n.null() || n.broken || s == nil {
		return
	}
	if err := s.Validate(); err != nil {
		l.report(n.pos, CodeValue, "transport.kafka: %v", err)
	}
}

// kafka refuses what no broker takes. A prefix names topics, so it has their letters.
func (l *loader) kafka(n *node, k *Kafka) {
	for i := range len(k.Prefix) {
		if c := k.Prefix[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-') {
			l.report(n.get("prefix").pos, CodeValue, "transport.kafka: prefix: %q is not of a-z, A-Z, 0-9, dot and dash", k.Prefix)
			break
		}
	}
	if k.MaxMessageBytes < 256<<10 {
		l.report(n.get("max_message_bytes").pos, CodeValue, "transport.kafka: max_message_bytes: %s is less than 256 KiB, and events are that large", k.MaxMessageBytes)
	}
	if k.Retention < 0 {
		l.report(n.get("retention").pos, CodeValue, "transport.kafka: retention: want 0, which is for ever, or a duration such as 720h")
	}
	if k.Commit.Interval <= 0 || k.Commit.Interval > 5*time.Second {
		l.report(n.get("commit").get("interval").pos, CodeValue, "transport.kafka: commit: interval: want more than 0, and 5s at most")
	}
}

// splitCommas takes lists as environment variables hold them: one string of several addresses.
func splitCommas(in pipeline.Strings) pipeline.Strings {
	var out pipeline.Strings
	for _, s := range in {
		for part := range strings.SplitSeq(s, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

// overrideTransport replaces the block by Options.Transport: a kind, or an address with its scheme. What the replaced block
// would have needed, such as variables, is no longer asked for. The address's kind keeps its block's other settings, if
// it is the kind of the file: credentials stay valid for another address.
func (l *loader) overrideTransport(root *node) *node {
	arg := l.opts.Transport
	if arg == "" {
		return root
	}
	src := newSource("--transport", arg)
	at := pos{src, 1, 1, len([]rune(arg))}
	kind, key := l.transportKind(arg)
	if kind == "" {
		p := l.report(at, CodeValue, "unknown transport %q", arg)
		p.Hint = "want embedded, memory, nats://host:port or kafka://host:port"
		p.Meant = pipeline.Nearest(arg, []string{"embedded", "memory"})
		return root
	}
	block := &node{pos: at, kind: mapKind}
	if old := root.get("transport").get(kind); old != nil && old.kind == mapKind {
		c := *old
		c.fields = slices.DeleteFunc(slices.Clone(old.fields), func(f *field) bool { return f.key.text == key })
		block = &c
	}
	if key != "" {
		address := strings.TrimPrefix(arg, "kafka://")
		block.fields = append(block.fields, &field{scalarNode(at, key), scalarNode(at, strings.ReplaceAll(address, "$", "$$"))})
	}
	whole := &node{pos: at, kind: mapKind, fields: []*field{{scalarNode(at, kind), block}}}
	return lay(root, &node{pos: at, kind: mapKind, fields: []*field{{scalarNode(at, "transport"), whole}}})
}

func scalarNode(at pos, text string) *node { return &node{pos: at, kind: stringKind, text: text} }

// transportKind is the kind that an argument names, and the key its address goes to.
func (l *loader) transportKind(arg string) (kind, key string) {
	if arg == "embedded" || arg == "memory" {
		return arg, ""
	}
	scheme, host, _ := strings.Cut(arg, "://")
	if host == "" {
		return "", ""
	}
	switch scheme {
	case "nats", "tls", "ws", "wss":
		return "nats", "url"
	case "kafka":
		return "kafka", "brokers"
	}
	return "", ""
}
