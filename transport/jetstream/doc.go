// Package jetstream keeps the engine's logs in NATS JetStream: in a server inside the process that nobody can connect to
// (Embedded), or in one elsewhere (Connect).
//
// A log is a stream MP_<pipeline>_<stage>; a chain's records lie under mp.<pipeline>.<stage>.<job>: out, dlq, ctl, ckpt and
// page.<hash> (design: settlement, rule 1). Names are encoded token by token, so that any name is a token and two names are
// never the same one (names.go). Events are CloudEvents in binary content mode, headers "ce-…" and "content-type".
//
// How an event travels: Chain.Append (chain.go) publishes it with the position of the chain's last record as expectation;
// the server refuses it when that is not so. Log.Read (read.go) asks for stretches of the chain by position, without a
// consumer on the server, so there is nothing to lose and nothing to wait for after a restart; at the end it waits for the
// log's tail (tail.go), one watch a log and process, to say that the chain has more. Log.Watch (watch.go) is an ordered
// consumer. Log.Subscribe (consumer.go) is a durable one that hands out one event at a time.
//
// # Non-obvious
//
//   - The expectation is always on the wildcard "<prefix>.>", the same string for every append to a chain: with replicas the
//     server serialises appends by that string (codes 10071 and 10164 are the refusal). Another string is another fence.
//   - Nothing may remove the last message under a prefix. Purge, delete and expiry of it all reopen the fence to older
//     positions (measured on nats-server 2.15). So Trim asks for the last one first; it can only have become later since.
//   - Every record says in the header mp-chain what came before it: sequence, position and bytes of the chain's out events.
//     By that a reader knows that nothing is missing between two events, though positions of a chain have gaps, and an
//     opener knows how far a trimmed chain was.
//   - With replicas a direct get may be answered by one that lags. What Open and Trim rest on is asked of the leader, and
//     what is read up to there is waited for.
//   - A publish whose outcome is open is never sent again by the client: the second try would be refused because of the
//     first (mayResend has the two cases that are certain).
//   - With replicas a watch may begin on one that lags: the newest record of a chain may then be followed by a newer one that
//     was there before, and a drained watch has to reach the leader's last record, whatever the replica says is pending.
package jetstream
