package schemas

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"time"
)

// Event types that the stages of this repository emit. The suffix is the version of the data's shape.
const (
	Signals       = "signal.batch.v1"   // tables of physical signals, one table a time base
	AEBTicks      = "aeb.tick.v1"       // the AEB function's state on its 50 ms grid, one table "tick"
	AEBActivation = "aeb.activation.v1" // a change of the AEB stage, documents
	AEBInputs     = "aeb.inputs.v1"     // sample counts of the function's input streams, one document at the end
	AEBKPI        = "aeb.kpi.v1"        // the result of one recording, one document at the end
	AEBFleet      = "aeb.fleet.v1"      // the fold over all recordings of a run
	HealthFinding = "health.finding.v1" // one fault of one signal
	HealthSummary = "health.summary.v1" // all faults of one recording
)

// Event types that the engine itself writes.
const (
	TypeProgress   = "milepost.progress.v1"   // nothing to say up to this time; counted like any out event
	TypeEnd        = "milepost.end.v1"        // closes a chain's out events: End as JSON
	TypeDeadLetter = "milepost.deadletter.v1" // an input given up: DeadLetter as JSON
	TypeControl    = "milepost.control.v1"    // a decision: Control as JSON
	TypeJob        = "milepost.job.v1"        // a job's change of state: JobEvent as JSON
)

// Content types of event data.
const (
	ContentArrow  = "application/vnd.apache.arrow.stream" // one table, a plain Arrow IPC stream
	ContentTables = "application/vnd.milepost.tables"     // several Arrow IPC streams, one after another
	ContentJSON   = "application/json"                    // one document
	ContentDocs   = "application/vnd.milepost.docs+json"  // a JSON array of documents
)

// CloudEvents attribute and extension names, without the prefix that a binding puts before them ("ce-" on NATS, "ce_" on
// Kafka). CloudEvents 1.0.2, sections "Context Attributes" and "Extension Context Attributes".
const (
	AttrSpecVersion  = "specversion"
	AttrID           = "id"
	AttrSource       = "source"
	AttrType         = "type"
	AttrSubject      = "subject"
	AttrTime         = "time"
	AttrDataSchema   = "dataschema"
	AttrContentType  = "datacontenttype" // travels as the content-type header, without prefix
	ExtSequence      = "sequence"        // 20 digits, zero-padded (CloudEvents "sequence" extension)
	ExtPartitionKey  = "partitionkey"    // CloudEvents "partitioning" extension
	ExtTraceParent   = "traceparent"     // CloudEvents "distributed tracing" extension
	ExtTables        = "tables"          // number of Arrow streams in the data
	ExtDataRef       = "dataref"         // CloudEvents "dataref" extension (claim check)
	SpecVersion      = "1.0"
	sequenceDigits   = 20
	SourcePrefix     = "/milepost/"
	dataSchemaPrefix = "urn:milepost:schema:"
)

// An Event is one CloudEvent of a chain as the hot path holds it. Data is never changed once the event exists.
type Event struct {
	Chain       ChainID   // with Sequence: the id
	Sequence    uint64    // of the chain's out events, from 1, without a gap; of other kinds, free
	Pipeline    string    // with Chain.Stage: the source
	Item        string    // the subject
	Type        string    // event type with version
	Time        time.Time // recording time of the first row, UTC; zero: absent
	ContentType string    // empty with no data
	Tables      int       // number of Arrow streams in Data; 0 for documents
	TraceParent string    // W3C trace context; not part of the content hash
	DataRef     string    // set when Data lies elsewhere
	Data        []byte
}

// ID is the CloudEvents id.
func (e *Event) ID() string { return e.Chain.EventID(e.Sequence) }

// Source is the CloudEvents source, "/milepost/<pipeline>/<stage>".
func (e *Event) Source() string { return SourcePrefix + e.Pipeline + "/" + e.Chain.Stage }

// DataSchema is the CloudEvents dataschema of the event's type.
func (e *Event) DataSchema() string { return dataSchemaPrefix + e.Type }

// Marks says whether the event only marks how far its chain is: a progress or end event, without anything for a stage.
func (e *Event) Marks() bool { return e.Type == TypeProgress || e.Type == TypeEnd }

// FormatSequence writes a sequence so that it sorts as text: 20 digits, zero-padded.
func FormatSequence(n uint64) string {
	s := strconv.FormatUint(n, 10)
	return "00000000000000000000"[:sequenceDigits-len(s)] + s
}

// A Hash is the content hash of an event, as Event.Hash makes it.
type Hash [sha256.Size]byte

// Hash covers data and every attribute but traceparent: two runs of a deterministic stage give the same one.
func (e *Event) Hash() Hash {
	b := make([]byte, 0, usualAttributes)
	b = appendHashed(b, string(e.Chain.Job), "/", e.Chain.Stage, "/", strconv.FormatUint(e.Sequence, 10)) // the id
	b = appendHashed(b, SourcePrefix, e.Pipeline, "/", e.Chain.Stage)                                     // the source
	b = appendHashed(b, e.Item)
	b = appendHashed(b, e.Type)
	b = appendHashed(b, FormatTime(e.Time))
	b = appendHashed(b, e.ContentType)
	b = appendHashed(b, strconv.Itoa(e.Tables))
	b = appendHashed(b, e.DataRef)
	h := sha256.New()
	h.Write(b)
	h.Write(e.Data)
	var sum Hash
	h.Sum(sum[:0])
	return sum
}

// usualAttributes is more than the bytes of attributes that most events have.
const usualAttributes = 384

// appendHashed writes the parts of a string behind its length.
func appendHashed(b []byte, parts ...string) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(n))
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// FormatTime is the RFC 3339 form of an event's time, in UTC with nanoseconds where there are any; empty for the zero time.
func FormatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
