// Package job owns the jobs of a pipeline: their states, who goes next, when one is over.
//
// Transitions have one writer. A Manager appends every change of a job's state to the job's own chain in the jobs log, where
// the durable consumers of the stages hear of it; what the stages decide comes back as control records and dead letters in
// their logs, which the Manager follows. Its table is a fold over those logs and can be lost at any time. Two Managers at
// once are harmless: the chain's fence lets one of them write, the other one looks again.
package job
