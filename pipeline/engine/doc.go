// Package engine runs a Spec over a Broker: it is the only package that sees both stages and brokers.
//
// # The way of a batch
//
//   - New makes a node of every stage and of every sink behind a stage, and opens their logs (engine.go). node.run takes jobs
//     from the pipeline's jobs log; each job that it holds gets an instance on a goroutine of its own (node.go).
//   - instance.run asks the settlement core (package settle) what to do and does it, action by action (instance.go,
//     execute.go). The core sees sequences, hashes and outcomes, never an event's data.
//   - A reader's step calls Reader.Read; collector.emit encodes the batch at once into an out event, numbered and addressed
//     (step.go, wire.go). instance.append stores it: chain.Append.
//   - The next stage's edge reads the chain by position on a goroutine of its own and hands the event in (edge.go);
//     instance.arrived describes it to the core and keeps it until it is settled. The core says Step; call decodes it, asks
//     `when` (filter.go), and calls Processor.Process under the step's timeout.
//   - SaveCheckpoint takes the stage's snapshot, in pages when it is large, and commits it; covered tells the producers how far
//     this node has come, and trims its own chain (flow.go).
//   - A sink is written batch by batch and committed with its cursor: CommitStore. What it holds is what Cursor says at the next
//     start.
//   - What comes out at the end of all jobs is folded into fleet results (fleet.go).
//
// # Chained stages
//
// Stages chained by `durable: false` are one node, with the name, chain and settings of the last (group.go): the core and all
// of the above see one stage. Its step runs one input through all members at once, depth first, on one goroutine: Emit of one
// is Process of the next, so that batches are valid for as long as their contract says and never encoded. What reaches a
// member is what it would have read from a chain (asReceived), so results are the same bytes either way.
//
// # Non-obvious
//
//   - An instance outlives the context of Run by its drain: broker calls in it run under a context that is not cancelled, and
//     the stop reaches it as a command.
//   - Room is asked for before a step, not before an append: a step that was begun is finished and stored whatever it emits.
//     Where there is no room the worker slot is given back, else stages that wait for each other would hold all of them.
//   - A consumer checkpoints when it is idle. If it did not, a producer that waits for room could wait for a checkpoint that
//     waits for its events.
//   - An end event has no time and a progress event that of its input: whatever an event says must come out the same at a
//     re-run, long after the inputs that led to it were trimmed.
//   - A step that ignores its timeout is given up together with its goroutine and its stage object; neither is touched again,
//     not even to close it.
//   - Every process knows every node, the ones that it does not run too: what they have read decides what may be trimmed.
//   - A sink's own chain holds decisions only, so how far its store is stands in a log beside it ("<name>.floor"), for
//     producers in other processes. Nothing but room depends on it.
//   - Consumers tell how far they are when they open, too: a producer that was started again in front of a full chain waits for
//     consumers that may have nothing left to take, and so nothing to commit (room.go).
//   - A producer goes beyond its budget for a join that has taken all of another edge and waits there: what it waits for may come
//     of what the producer has not emitted yet, over stages that emit rarely. Found by looking at the chains, whoever holds them.
//   - A delivery goes to one process, and another may hold the job: every process follows the jobs of its pipelines for failures
//     and cancels (line.go). An instance of a failed job that has nothing to do for a while leaves, and its delivery is acked:
//     what lets the job go on is a new event. Otherwise failed jobs fill the process and what the broker lets be pending.
//   - A log that is full (limits.max_bytes, somebody else's limit) makes its stage wait, and what feeds it, up to the reader. What
//     consumers have taken is trimmed at once then, up to the chain's own last checkpoint, whose place is looked up: a stage
//     with outputs in hand cannot write another one. Checkpoints come sooner where a log is small, and have a reserve (full.go).
//   - What a worker died of before is tried by one job at a time in a process (suspects.go): a step that kills takes its whole
//     process with it, and its neighbours would be given up for its deaths. Who has the turn gives it back before it waits for
//     anything: another suspect may have to come first.
//   - A call on a sink that does not come back is given up, and no other about its chain is made until it does (store.go).
//   - A wake token stands for something unheard, or is taken back (held.orders); a delivery that comes again wakes an instance,
//     but asks nothing, and ends neither a pace nor the pause before a retry.
package engine
