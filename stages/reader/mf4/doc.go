// Package mf4 is the reader `reader/mf4`: recordings in MDF 4 files become batches of physical signals.
//
// A recording's journey: List finds the files and the binding of each; Build reads bindings and DBC files once for all; open
// resolves a binding to channel groups and bus messages (resolve.go); a source reads one channel group block by block and
// decodes its records into streams (source.go, can.go, physical.go); a stream is the rows of one table, held until no earlier
// row can come (stream.go); the Reader advances the source that lies furthest behind and cuts what is complete into slices
// (reader.go, raster.go).
//
// Non-obvious
//   - Boundaries of batches are a function of rows and configuration alone. Nothing that depends on how the file is read
//     (block sizes, buffers, a restart) may decide a cut: the engine compares regenerated batches byte for byte.
//   - A snapshot holds no rows. It says up to which time all rows were delivered and, per source, the place of the block
//     that holds the oldest row that was not; after a restart the rows below that time are read again and dropped. That is
//     exact because a row that is not late never lies below the time that was delivered when it is read.
//   - Late is what lies more than the reorder window behind the newest record of its own channel group: of the group, not
//     of the recording, since groups are written one after another by some tools, and not of the stream, since a
//     stream that is silent for minutes would hold all others back.
//   - Which bus a frame is on says BusChannel, whose 0 is a bus, or where there is no such member the number in the group's
//     name; frames without either are taken for those of any bus. A binding that names no bus may be fed by one bus only. What
//     bus that was stands in snapshots, as frames of another one must be refused after a restart too.
package mf4
