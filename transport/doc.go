// Package transport is how the engine keeps what stages write: chains of records in the logs of a broker.
//
// All that one stage writes for one job is a chain: out events, dead letters, control records, checkpoints and their pages,
// in one log under one prefix. Every append to a chain expects the chain's last record to be the one the writer knows; that
// fence, and nothing else, keeps a zombie from writing. What a chain says is true; deliveries, acks and clients are only a
// way to spread work.
//
// How a job moves: the owner of jobs appends to the job's own chain (stage name JobStage) in the jobs log; every stage has a
// durable Consumer on that log and so hears of each job once, on one worker, which keeps the delivery in progress while it
// works and acks it when the job is closed, halted or given back. The worker opens the stage's chain, and reads the chain's
// inputs by position. A worker that dies leaves its delivery to another one.
//
// Every implementation passes the suite in transporttest.
package transport
