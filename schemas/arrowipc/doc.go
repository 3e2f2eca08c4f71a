// Package arrowipc turns the tables of a batch into event data and back.
//
// One table is a plain Arrow IPC stream (a schema message, one record batch message, the end-of-stream marker), which any
// Arrow reader takes. Several tables are one such stream after another. What a table is and which slice it covers stands in
// the schema's metadata, so an event's data explains itself without its attributes:
//
//	milepost.table    name of the table
//	milepost.index    place of the table in the batch, from 0
//	milepost.type     event type
//	milepost.start    start of the recording, RFC 3339 with nanoseconds, UTC
//	milepost.from_ns  start of the slice, nanoseconds since the recording's start
//	milepost.to_ns    end of the slice (not in it), likewise
//
// Columns are int64, float64, bool or utf8; the first is schemas.TimeColumn. Equal tables give equal bytes. Decode makes
// arrays that point into the data it was given and trusts no length in it: the streams come from a broker that others may
// write to. It is stricter than an Arrow reader, which takes a stream that was cut between two messages for a whole one.
//
// The format: Arrow Columnar Format 1.5, "Serialization and Interprocess Communication (IPC)"; format/Message.fbs and
// format/Schema.fbs for the metadata, FlatBuffers Internals for its encoding.
package arrowipc
