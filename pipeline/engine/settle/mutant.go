package settle

// A Mutant removes one rule of design.md §6, to show that the simulation sees it. Built without the tag `mutants` all are
// constantly off and cost nothing.
type Mutant uint8

// The mutants of the core; those of brokers and stores stand with the simulation, which has them from FirstSimulated on.
const (
	NoMutant             Mutant = iota
	TakeTwice                   // rule 3: an input that comes again is taken again
	TakeGap                     // rule 3: a gap is not read again
	MergeImpatient              // a join does not wait for the slower edge
	NoCompare                   // rule 5: regenerated events are not compared
	AppendRegenerated           // rule 5: regenerated events are appended
	DecideAhead                 // rule 5: decisions while stored outputs lie ahead
	CheckpointAhead             // a checkpoint while stored outputs or records lie ahead
	NoAttempt                   // rule 6: attempts are not stored
	CountFirstOnly              // attempts of the first step after a takeover only
	CarelessAhead               // a holder who comes after another goes on before its outputs are stored
	OpenUncounted               // rule 6: a reader's opening is not counted as a try
	OpeningUncounted            // rule 6: opening a stage that others opened before is not counted
	SurvivedSilent              // rule 6: workers that die while they wait add up
	LetterCursor                // rule 6: the dead letter does not carry the cursor
	LetterUnstored              // rule 6: a dead letter acts without being stored
	TwoRecords                  // rule 6: dead letter and halt are two records
	SkipKeepsState              // rule 6: a skipped input's half-done state stays
	SkipCounts                  // rule 6: a skipped input is counted
	ResumeBehind                // rule 6: resume goes on behind the halted input
	ResumeTwice                 // rule 6: a resume that comes again acts again
	ResumeOlder                 // rule 6: a resume that comes again takes the place of a newer one
	ResumeOvertaken             // a resume that comes before the dead letter's append is answered is lost
	CancelOvertaken             // a cancel that comes before the dead letter's append is answered is lost
	CancelUnstored              // rule 6: a cancel acts without being stored
	HalfSteps                   // rule 4: outputs of a failed step are appended
	UnknownIsStored             // rule 4: an unknown outcome is taken for a success
	UnknownAgain                // rule 4: an unknown append is repeated without looking
	StaleGoesOn                 // rule 1: a refused append is taken for a success
	StateForgotten              // rule 2: the snapshot is not restored
	PassUnopened                // rule 2: inputs pass, and are checkpointed, though no instance could be opened
	ProgressByTime              // rule 7: progress counted since the instance was opened
	NoProgressHere              // rule 7: progress on one side of a join only
	SkipSilent                  // rule 7: skipped inputs bring no progress, so that a stage that skips all starves a join
	RunStored                   // rule 8: stored inputs of a non-deterministic stage are run again
	ChainBeforeStore            // a sink's chain is read before its store, and NoClaim, which alone would make up for it
	NoClaim                     // a sink's holder does not say that it is there
	NoStoreFence                // a sink's store is not fenced before a decision
	EndUncommitted              // a sink ends before its store is committed
	EndEarly                    // the end control is stored before the end event
	OwnCheckpointIgnored        // rule 9: trimming by the consumers alone
	FirstSimulated
)
