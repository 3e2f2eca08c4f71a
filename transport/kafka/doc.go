// Package kafka keeps the engine's logs in Kafka. It is a first version, to hold the interface of transport against a
// broker that is made differently; it passes the basics of the suite on kfake and has not met a real broker.
//
// A log is two topics of the same number of partitions: mp.<pipeline>.<stage> holds out events, dead letters and controls,
// mp.<pipeline>.<stage>.state, compacted, holds checkpoints and pages. A chain lies in the partition that its job's name
// hashes to, in both. Events are CloudEvents in binary content mode, headers "ce_…" and "content-type". An Append is a
// transaction, and so is the part of a Commit that falls on one partition.
//
// # The fence
//
// A key's last record cannot be asked for, so nothing can be made to expect it. Instead each partition of a log has one
// transactional id; a process that begins to write there takes the next epoch, which shuts out whoever wrote before, then
// reads what each chain's last records are, and from then on knows all that is written. An append compares the chain's
// last records with those that Open saw. So a process may lose its epoch to another that writes to a different chain of
// the same partition: it is told ErrStale, opens again, and finds that nothing has changed. That is correct and slow; it
// does not come to pass once workers take whole partitions.
//
// # What is not there yet
//
//   - Subscribe: deliveries by consumer group, with ErrUnsupported until then.
//   - Watch over more than one partition, and of checkpoints: positions of several partitions and topics have no order.
//     Such a watch is ErrUnsupported.
//   - Trim: nothing is removed (it is a hint about space; DeleteRecords and tombstones are to come).
//   - MaxBytes and Reserve: the budget is to be ours, the broker has none. Stats has no bytes.
//   - Open and the first append to a partition read the partition from its start; an index is to come.
package kafka
