// Package view keeps results in the form that dashboards and commands ask for: documents, an overview of every signal, the
// table of jobs, and fleet results, in one SQLite file (results.db in the state directory).
//
// A Store is a pipeline.Sink: rows and cursor of a chain go in one transaction. Documents are keyed (job, stage, sequence,
// row). Signals become an overview pyramid as their batches stream by: minimum, maximum, mean and count of every 200 ms
// bucket, and of every four buckets of the level below, seven levels in all. A recording of ten hours with 20 signals takes at
// most some 60 MB so, measured with noise, which cannot be compressed; at 100 Hz its samples are 576 MB (BenchmarkWrite).
// The overview survives the purge of the stream and the loss of the recording's file. It does not show what happens within
// 200 ms, and holds values as float32: minima rounded down, maxima up, seven digits.
//
// Which buckets there are and what they hold depends on the rows alone: neither cuts into batches, nor commits, nor kills
// change a bit of it. Rows come in order of time; one that steps back behind the bucket in hand is counted and left out,
// since its bucket is closed (reader/mf4 puts samples in order before).
package view
