// Package kafka keeps the engine's logs in Kafka.
//
// A log is three topics of the same number of partitions. mp.<pipeline>.<stage> holds the out events and nothing else, so
// that any consumer that reads what is committed sees each of them once, as CloudEvents in binary content mode.
// mp.<pipeline>.<stage>.dlq holds the decisions, dead letters and controls in one order, since a resume answers a halt.
// mp.<pipeline>.<stage>.state, compacted, holds checkpoints, pages of snapshots and heads. A chain lies in the partition that
// its job's name hashes to, in all three.
//
// # The fence
//
// Whoever writes to a partition of a log does so in transactions of one transactional id. To begin is to take the next
// epoch: it ends whatever transaction another process had open there and shuts it out. A key's last record cannot be asked
// for, so every transaction writes a head for each chain that it touches: the number of the chain's last record, the
// sequence of its last out event, and where its last records lie. A process keeps the heads of a partition in memory (index)
// and reads on when it needs them; after taking an epoch it has them all. An append compares the number of the chain's last
// record with the one that Open saw. A process that loses its epoch to another that writes to a different chain is told
// ErrStale too, opens again, and finds that nothing has changed.
//
// # The way of a record
//
//   - chain.Append encodes it and puts it into the partition's open batch (chain.go, part.go). A log made with Ahead returns
//     there; else, and for every decision and checkpoint, it waits for part.store, which stores a batch by one transaction: it
//     produces all, waits for that, writes the heads, and commits. Meanwhile the next batch is gathered: the slower the brokers
//     are, the more one transaction holds.
//   - A reader fetches by offset until it has caught up, then waits for the log's feed, one client for all readers of the
//     process, to hand it what is new (read.go, feed.go).
//   - Open takes the chain's head from the index and fetches what it names: checkpoint, pages, what lies behind (open.go).
//
// # Non-obvious
//
//   - A transaction's end is told to the writer before its markers are in the log. So an opener that asks for the last
//     committed offset may not see what another has just been told is stored: it looks at the end of the log, and waits a
//     moment for the committed offset to get there (index.refresh).
//   - A position is the record's offset + 1, with the partition in the bits above 40: positions are unique in a log's topic,
//     and still below 2^53, so that a browser can read them.
//   - Pages are removed by the transaction of the checkpoint that needs them no more, and by Trim only of a chain that is over:
//     of any other the holder may be about to write the same content again, under the same key.
//   - A log holds what its chains need: heads and marks of trimming say how much that is (entry.size). The brokers hold more, and
//     tell sizes only to those who may look at the whole cluster.
//   - Nothing can be removed from the middle of a topic. Trim notes how far a chain may go and moves the partition's start to
//     what the neediest chain there still needs.
package kafka
