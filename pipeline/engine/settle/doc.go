// Package settle decides what one holder of a (job, stage) does next, so that results come out once and the same whatever
// crashed: things that happened in, actions out, no I/O, no clock, no goroutine.
//
//	i := settle.New(config)
//	for actions := i.Handle(settle.Input{Op: settle.Start}); ; actions = i.Handle(next()) {
//		for _, a := range actions { execute(a) }
//	}
//
// The shell (package engine) has one goroutine for each (job, stage) it holds. It executes the actions of a Handle in order
// and hands the answer to the one that awaits an answer (see Do) back as the next Input, or, before it, any number of Arrived,
// Gone and Command. It keeps what the core never sees: the events themselves, by (edge, sequence), from Arrived until the
// input is settled (a later Step, Drop or SaveCheckpoint); the outputs of the last step until they are appended; the error of
// the last step for the dead letter. After Leave it calls Handle no more.
//
// What the shell does of its own accord: it limits how far a stage runs ahead of its consumers, by waiting before it executes
// a Step, or an Append of an attempt record, whose step follows; when a command comes meanwhile it hands that in and then
// answers NotBegun, or Withheld. Before it waits it asks for a checkpoint, since those upstream may wait for it. It limits the bytes of events that wait in the core; it asks
// for a checkpoint (WantCheckpoint) each time it begins to wait for events, and when half of the window is not covered; it makes events: ids from Call.First,
// progress and end events; it keeps the delivery in progress; it trims logs by Floor. An event larger than the broker takes is
// a permanent failure of its step.
//
// # How it goes
//
// Opening: the chain's State tells all. Ended and cancelled chains are left at once, a halted one unless a resume was asked
// for. Restoring: the last checkpoint, readers behind its cursor. Re-running: inputs come by position; regenerated outputs are
// compared with the stored ones, never appended; errors are only retried. Live: outputs are appended, checkpoints follow.
// Deciding: a dead letter or a control is appended, and holds once it is stored. Closing: end event, then end control. A
// refused append (Stale) is looked at again once by opening the chain again; the second time the other holder is left to it,
// since two who take turns would get nowhere. An unknown outcome opens the chain again.
//
// # Non-obvious
//
//   - A record about an input that is not settled yet is never hidden behind a checkpoint: no checkpoint is written while
//     outputs or records lie ahead of the cursor (Instance.clean).
//   - attempt records: the first step of any holder is counted. On a chain that holds anything, each further step is counted
//     too until an output or a checkpoint is stored, since a step that emits nothing leaves no other trace: counting only the
//     first would give up the first quiet input for what a later one did.
//   - Where outputs may be stored later than their append is answered (transport.Chain.Append), a worker that dies takes steps
//     along that were done. Whoever comes after another stores each step's outputs before the next one (Write.Sync), up to
//     its first checkpoint: the input that it counts is then passed for good, and not counted again for what a later one did.
//   - An attempt record of the first holder says 0: it only leaves a trace, for what follows it in silence may be what kills.
//     A holder who was refused does not raise another's count, since that other lives. A reader is counted before it is
//     opened (Append comes before Restore), since a file that kills does so then.
//   - Opening the stage is counted too, once for each holder, by an attempt record without an input: what kills its worker
//     while its state is restored, or while what is stored is computed again, leaves no other trace. Too many halt the job; a
//     resume begins anew. Who gets through the second time says so (n 0): workers that die later, while they wait, must not add up.
//   - A control's cursor is that of the last checkpoint, but for an end's: producers in other processes take it for what
//     nobody needs again.
//   - A cancel may come before the append of what halts the job was answered: it is stored behind that.
//   - A resume may come before the append of the record that it is about was answered, or while an older state is being
//     looked at: it is kept until the chain was looked at again.
//   - Of two resumes the one that names the later record counts: the earlier one was heeded before that was written, and comes again.
//   - A cancel is stored on a chain that makes no sense here, too: a job of another configuration, whose stage had other inputs.
//   - A state that cannot be taken is tried again from the last checkpoint; then it is a dead letter of the last input, which
//     never skips, since that input's outputs are stored.
//   - A reader's end may have outputs, of stages that are chained to it: the read that finds the end is an input then.
//   - The error of a sink's failed write is wanted later than the others': its dead letter comes after Load, Open and the
//     writes before it.
//   - Rule 8 needs no cursor in out events: inputs are read again from the checkpoint, and as each gives exactly one event,
//     those whose event is stored are passed without being run. They are only counted and hashed.
//   - A reader cannot skip a read: OnError Skip halts there; so does a stage that cannot be opened, since no input is to blame.
//     A skipped end event drops what Finish would have emitted. Skipped inputs bring progress events as others do, and are not
//     counted in the end event.
//   - A sink's store is not fenced by the chain. Before a dead letter or a cancel is appended, the store's cursor gets a new
//     epoch, so that a zombie's commit is stale; and each holder appends an attempt before its first write, so that of two who
//     opened both store and chain only one decides.
//   - A sink's running hash and count live in Cursor.Merge, beside the epoch, since its store holds nothing else of ours.
//   - Merging needs no state but the cursor: the earliest head of all edges is taken, and all edges that have not ended must
//     have a head.
package settle
