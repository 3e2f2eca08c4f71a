package jetstream

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// root is the first token of every subject of ours.
const root = "mp"

// encode makes a name one token of a subject and a part of a stream's name: a-z, 0-9 and "-" stay, any other byte becomes
// "=" and two hexadecimal digits (capitals too, since a stream is also a folder, and some file systems know no case).
func encode(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02x", c)
		}
	}
	return b.String()
}

// decode undoes encode.
func decode(token string) (string, error) {
	if !strings.Contains(token, "=") {
		return token, nil
	}
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '=' {
			b.WriteByte(token[i])
			continue
		}
		if i+2 >= len(token) {
			return "", fmt.Errorf("token %q ends in an escape", token)
		}
		c, err := strconv.ParseUint(token[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("token %q: %w", token, err)
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), nil
}

// names are what a log is called on the server.
type names struct{ stream, prefix string }

func newNames(pipeline, stage string) names {
	p, s := encode(pipeline), encode(stage)
	return names{stream: "MP_" + p + "_" + s, prefix: root + "." + p + "." + s + "."}
}

// StreamName is what a log's stream is called on the server.
func StreamName(pipeline, stage string) string { return newNames(pipeline, stage).stream }

// ConsumerName is what a durable consumer is called on the server.
func ConsumerName(durable string) string { return encode(durable) }

// chain is the prefix of a chain's subjects, with the dot.
func (n names) chain(job schemas.JobID) string { return n.prefix + encode(string(job)) + "." }

// everyChain is the subject of all chains' records of a kind.
func (n names) everyChain(k transport.Kind) string { return n.prefix + "*." + k.String() }

// parse says what chain and kind a subject of the log is about.
func (l *log) parse(subject string) (schemas.ChainID, transport.Kind, error) {
	job, kind, ok := strings.Cut(strings.TrimPrefix(subject, l.prefix), ".")
	name, err := decode(job)
	if !ok || err != nil {
		return schemas.ChainID{}, 0, fmt.Errorf("subject %q is not of stream %s", subject, l.stream)
	}
	id := schemas.ChainID{Job: schemas.JobID(name), Stage: l.config.Stage}
	switch kind, _, _ = strings.Cut(kind, "."); kind {
	case "out":
		return id, transport.Out, nil
	case "dlq":
		return id, transport.DeadLetter, nil
	case "ctl":
		return id, transport.Control, nil
	case "page":
		return id, transport.Page, nil
	case "ckpt":
		return id, transport.Snapshot, nil
	}
	return id, 0, fmt.Errorf("subject %q has no kind", subject)
}
