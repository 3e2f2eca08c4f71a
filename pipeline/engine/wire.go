package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/schemas/arrowipc"
	"github.com/milepost-dev/milepost/transport"
)

// encode makes the out event of a batch: numbered, addressed, with its data. A batch with nothing in it becomes a progress
// event, which says only how far the stage is.
func (n *node) encode(j work, sequence uint64, b pipeline.Batch) (schemas.Event, error) {
	e := schemas.Event{
		Chain: schemas.ChainID{Job: j.id, Stage: n.name}, Sequence: sequence, Pipeline: n.pipeline, Item: j.item.Name,
		Type: b.Type, Time: b.Time(),
	}
	e.TraceParent = traceParent(&e)
	var err error
	switch {
	case len(b.Tables) > 0:
		e.Tables = len(b.Tables)
		e.Data, e.ContentType, err = arrowipc.Encode(b.Type, b.Tables, b.Slice)
	case len(b.Docs) > 0:
		e.Data, e.ContentType = schemas.EncodeDocs(b.Docs)
	default:
		e.Type, e.Time = schemas.TypeProgress, b.Start.Add(max(b.To, b.From))
	}
	if err != nil {
		return e, pipeline.Permanent(fmt.Errorf("encode %s: %w", b.Type, err))
	}
	return e, nil
}

// decode makes the batch of an out event.
func decode(s transport.Stored) (pipeline.Batch, error) {
	e := &s.Event
	b := pipeline.Batch{Type: e.Type, Pipeline: e.Pipeline, Job: e.Chain.Job, Item: e.Item, Stage: e.Chain.Stage, Sequence: e.Sequence}
	b.Start = e.Time
	var err error
	switch {
	case e.Tables > 0:
		b.Tables, b.Slice, err = arrowipc.Decode(e.Data, e.ContentType, e.Tables)
	case e.ContentType != "":
		b.Docs, err = schemas.DecodeDocs(e.Data, e.ContentType)
	}
	if err != nil {
		return b, pipeline.Permanent(fmt.Errorf("event %s: %w", e.ID(), err))
	}
	return b, nil
}

// traceParent is a W3C trace context whose trace is the job and whose span is the event, so that it is the same at a re-run.
func traceParent(e *schemas.Event) string {
	trace := sha256.Sum256([]byte(e.Chain.Job))
	span := sha256.Sum256([]byte(e.ID()))
	return "00-" + hex.EncodeToString(trace[:16]) + "-" + hex.EncodeToString(span[:8]) + "-01"
}

// progress makes the out event that says only how far the stage is.
func (n *node) progress(j work, sequence uint64, at time.Time) schemas.Event {
	e := schemas.Event{Chain: schemas.ChainID{Job: j.id, Stage: n.name}, Sequence: sequence, Pipeline: n.pipeline, Item: j.item.Name,
		Type: schemas.TypeProgress, Time: at}
	e.TraceParent = traceParent(&e)
	return e
}

// decision makes the event of a control record or dead letter, or the end event; of the first two, sequence counts nothing
// and names the out event before.
func (n *node) decision(j work, eventType string, sequence uint64, data []byte) schemas.Event {
	e := schemas.Event{
		Chain: schemas.ChainID{Job: j.id, Stage: n.name}, Sequence: sequence, Pipeline: n.pipeline, Item: j.item.Name,
		Type: eventType, ContentType: schemas.ContentJSON, Data: data,
	}
	e.TraceParent = traceParent(&e)
	return e
}

// structured writes an event in structured content mode (CloudEvents JSON format 1.0.2): JSON data as it is, other data in
// base64.
func structured(e *schemas.Event) (json.RawMessage, error) {
	doc := map[string]any{}
	e.Attributes(func(name, value string) { doc[name] = value })
	switch {
	case len(e.Data) == 0 || e.ContentType == "":
	case e.ContentType == schemas.ContentJSON, e.ContentType == schemas.ContentDocs:
		doc["data"] = json.RawMessage(e.Data)
	default:
		doc["data_base64"] = e.Data
	}
	return json.Marshal(doc)
}
