package kafka

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// attributePrefix stands before attribute names in headers (CloudEvents Kafka binding 1.0.2, 3.2.3.1).
var attributePrefix = transport.NewPrefix("ce_")

// Headers of ours.
const (
	headerKind   = "mp-kind"   // of the record: a transport.Kind, head or trim
	headerNumber = "mp-number" // counts the records of a partition over its topics, so that a chain has one order
)

// Kinds of the state topic beside checkpoints and pages.
const (
	kindHead  = "head"
	kindTrim  = "trim"
	kindPurge = "purge"
)

// partitionShift: positions hold the partition above it.
const partitionShift = 40

// position of a record.
func position(r *kgo.Record) schemas.Position {
	return schemas.Position(r.Partition)<<partitionShift | schemas.Position(r.Offset+1)
}

// offset is the first offset behind a position.
func offset(p schemas.Position) int64 { return int64(p & (1<<partitionShift - 1)) }

// A head says how far a chain is. Each transaction writes one for every chain that it touched.
type head struct {
	Number   uint64           `json:"number"`              // of the chain's last record: the fence
	Out      uint64           `json:"out,omitempty"`       // sequence of its last out event
	OutBytes uint64           `json:"out_bytes,omitempty"` // data of all its out events
	Size     uint64           `json:"size,omitempty"`      // of all its out events in this log, as they are stored
	DSize    uint64           `json:"d_size,omitempty"`    // of all its decisions
	First    schemas.Position `json:"first,omitempty"`     // of the first out event that is not trimmed
	OutAt    schemas.Position `json:"out_at,omitempty"`    // of the last one
	Decided  schemas.Position `json:"decided,omitempty"`   // of the first decision
	LetterAt schemas.Position `json:"letter_at,omitempty"` // of the last dead letter
	Control  schemas.Position `json:"control_at,omitempty"`
	Behind   schemas.Position `json:"behind,omitempty"`         // the last checkpoint covers out events up to it
	BehindD  schemas.Position `json:"behind_decided,omitempty"` // and decisions up to it
}

// A mark says what of a chain is not needed any more.
type mark struct {
	At   schemas.Position `json:"at"`   // out events at and below it, or this dead letter
	Size uint64           `json:"size"` // of all those out events, more or less, or of the letter
}

// decidedAt is the position of the last decision.
func (h *head) decidedAt() schemas.Position { return max(h.LetterAt, h.Control) }

// key of a record of the state topic: the job, a slash, and what the record is. The last slashes count, whatever the job is.
func stateKey(job schemas.JobID, kind string) []byte { return []byte(string(job) + "/" + kind) }

func pageKey(job schemas.JobID, h transport.PageHash) []byte {
	return stateKey(job, transport.Page.String()+"/"+h.String())
}

// letterKey is that of a dead letter or control: unique, so that one can be removed.
func letterKey(job schemas.JobID, number uint64) []byte {
	return stateKey(job, strconv.FormatUint(number, 10))
}

// jobOf is the job of a record's key.
func (l *log) jobOf(r *kgo.Record) schemas.JobID {
	key := string(r.Key)
	if r.Topic == l.topics[outTopic] {
		return schemas.JobID(key)
	}
	if header(r, headerKind) == transport.Page.String() {
		key = key[:max(0, strings.LastIndexByte(key, '/'))]
	}
	return schemas.JobID(key[:max(0, strings.LastIndexByte(key, '/'))])
}

func header(r *kgo.Record, name string) string {
	for i := range r.Headers {
		if r.Headers[i].Key == name {
			return string(r.Headers[i].Value)
		}
	}
	return ""
}

// Usual numbers of a record's headers, and of their bytes, so that they take one piece of memory each.
const (
	usualHeaders     = 20
	usualHeaderBytes = 768
)

func adder(k *kgo.Record) func(name, value string) {
	k.Headers = slices.Grow(k.Headers, usualHeaders)
	values := make([]byte, 0, usualHeaderBytes)
	return func(name, value string) {
		if len(value) > cap(values)-len(values) {
			values = make([]byte, 0, max(len(value), usualHeaderBytes))
		}
		at := len(values)
		values = append(values, value...)
		k.Headers = append(k.Headers, kgo.RecordHeader{Key: name, Value: values[at:len(values):len(values)]})
	}
}

// add adds one header.
func add(k *kgo.Record, name, value string) {
	k.Headers = append(k.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
}

// number is the record's place among those of its partition.
func number(r *kgo.Record) uint64 {
	n, _ := strconv.ParseUint(header(r, headerNumber), 10, 64)
	return n
}

// kindOf reads the record's kind; false for one that is not of a chain.
func kindOf(r *kgo.Record) (transport.Kind, bool) {
	text := header(r, headerKind)
	for k := transport.Out; k <= transport.Snapshot; k++ {
		if k.String() == text {
			return k, true
		}
	}
	return 0, false
}

// decode reads a record back.
func (l *log) decode(r *kgo.Record, kind transport.Kind, headers bool) (transport.Stored, error) {
	m := transport.Message{
		Chain: schemas.ChainID{Job: l.jobOf(r), Stage: l.config.Stage}, Pipeline: l.config.Pipeline, Kind: kind,
		Header: func(name string) string { return header(r, name) }, Body: r.Value, Size: len(r.Value),
	}
	s, err := m.Decode(attributePrefix)
	s.Position, s.At = position(r), r.Timestamp
	if err != nil {
		return s, fmt.Errorf("record at %d of topic %s/%d: %w", r.Offset, r.Topic, r.Partition, err)
	}
	if headers { // the whole record came all the same: Kafka has nothing smaller
		s.Event.Data = nil
		if s.Checkpoint != nil {
			s.Checkpoint.Snapshot = nil
		}
	}
	return s, nil
}

// record makes a Kafka record of one that is to be appended; its number is given where it is produced.
func (ch *chain) record(r *transport.Record) (*kgo.Record, error) {
	k := &kgo.Record{Topic: ch.log.topics[outTopic], Partition: ch.part.n, Key: []byte(ch.id.Job)}
	switch r.Kind {
	case transport.Page:
		k.Topic, k.Key = ch.log.topics[stateTopic], pageKey(ch.id.Job, r.Page.Hash)
	case transport.DeadLetter, transport.Control:
		k.Topic = ch.log.topics[dlqTopic] // the key comes with the number
	}
	put := adder(k)
	var err error
	k.Value, err = r.Encode(attributePrefix, put)
	if k.Value == nil {
		k.Value = []byte{} // a record without a value removes its key where topics are compacted
	}
	put(headerKind, r.Kind.String())
	return k, err
}

func (ch *chain) headRecord(h *head) (*kgo.Record, error) {
	value, err := json.Marshal(h)
	k := &kgo.Record{Topic: ch.log.topics[stateTopic], Partition: ch.part.n, Key: stateKey(ch.id.Job, kindHead), Value: value}
	add(k, headerKind, kindHead)
	return k, err
}

// encode makes a name part of a topic's: a-z, 0-9 and "-" stay, any other byte becomes "_" and two hexadecimal digits.
func encode(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}
