//go:build mutants

package settle

import "testing"

// mutantNames names every mutant; the order is that of the constants.
var mutantNames = map[Mutant]string{
	TakeTwice: "an input that comes again is taken again", TakeGap: "a gap is not read again", MergeImpatient: "a join does not wait",
	NoCompare: "comparing omitted", AppendRegenerated: "regenerated events appended", DecideAhead: "deciding while stored outputs lie ahead",
	CheckpointAhead: "a checkpoint while stored records lie ahead", NoAttempt: "attempt not stored", CountFirstOnly: "only the first input is counted",
	CarelessAhead: "a holder who comes after another stores outputs late",
	OpenUncounted: "opening a reader is not counted", OpeningUncounted: "opening a stage again is not counted", SurvivedSilent: "openings add up",
	LetterCursor: "cursor not in the dead letter", LetterUnstored: "a dead letter acts unstored", TwoRecords: "two records for dead letter and halt",
	SkipKeepsState: "a skipped input's state stays", SkipCounts: "a skipped input is counted", ResumeBehind: "resume with a gap",
	ResumeOvertaken: "a resume overtakes the answer of an append",
	CancelOvertaken: "a cancel is overtaken by the answer of an append",
	ResumeOlder:     "an older resume takes the place of a newer one",
	ResumeTwice:     "a resume acts twice", CancelUnstored: "a cancel acts unstored", HalfSteps: "outputs of a failed step",
	UnknownIsStored: "an unknown append is taken for stored", UnknownAgain: "an unknown append is repeated", StaleGoesOn: "a refused append is taken for stored",
	PassUnopened:   "inputs pass without an instance",
	SkipSilent:     "skipped inputs bring no progress",
	StateForgotten: "the snapshot is not restored", ProgressByTime: "progress by what this process saw", NoProgressHere: "progress only on one side",
	RunStored: "stored inputs of a non-deterministic stage run again", ChainBeforeStore: "the chain is read before the store",
	NoClaim: "a sink's holder does not say that it is there", NoStoreFence: "no fence in the sink's store", EndUncommitted: "a sink ends uncommitted",
	EndEarly: "an end control without an end event", OwnCheckpointIgnored: "trimming by the consumers alone",
	NoFence: "no fence", CheckpointApart: "checkpoint kept apart from the outputs", LetterApart: "dead letter kept apart", AckBeforeAppend: "ack before append",
	ExpiringRecords: "a TTL in the chain", LastRemoved: "the last record under the prefix removed", TrimAhead: "trimming by what was read",
	StoreUncompared: "a sink's commit does not compare", StoreApart: "a sink's rows apart from its cursor", TrustOffsets: "committed offsets trusted",
}

// TestMutants: with any one rule removed the simulation finds a wrong result.
func TestMutants(t *testing.T) {
	const within = 200_000
	defer func() { mutant = NoMutant }()
	for m := NoMutant + 1; m < lastMutant; m++ {
		mutant = m
		sum, wrong := simulate(within, false, 1)
		switch {
		case mutantNames[m] == "":
			t.Errorf("mutant %d has no name", m)
		case len(wrong) == 0:
			t.Errorf("%q is not found in %d schedules", mutantNames[m], within)
		default:
			t.Logf("%-60s after %9d steps: %s", mutantNames[m], sum.steps, wrong[0])
		}
	}
}
