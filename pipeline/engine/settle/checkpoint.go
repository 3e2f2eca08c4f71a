package settle

import (
	"encoding/hex"
	"fmt"

	"github.com/milepost-dev/milepost/schemas"
)

// maxFails is how often in a row a checkpoint may not be stored before the job is handed back.
const maxFails = 8

// due says whether a checkpoint is.
func (i *Instance) due() bool {
	s := &i.since
	return s.inputs >= i.cfg.CheckpointInputs || i.cfg.CheckpointBytes > 0 && s.bytes >= i.cfg.CheckpointBytes ||
		i.want.checkpoint && s.inputs > 0
}

// clean says whether a checkpoint may be written: nothing stored lies ahead, for the next holder sees only what stands behind
// the checkpoint.
func (i *Instance) clean() bool {
	return i.restored && !i.dirty && (!i.lies() || CheckpointAhead.on())
}

// save writes a checkpoint of the present place; of a sink, commits its store.
func (i *Instance) save() bool {
	i.intent = outputs
	if i.cfg.Role == Sink {
		return i.commitStore(i.epoch)
	}
	i.saving = i.at.checkpoint()
	kept := i.failed != OK
	if kept && i.point != nil { // what passed since without an instance was skipped, and changed no state
		i.saving.Snapshot, i.saving.Pages = i.point.Snapshot, i.point.Pages
	}
	return i.ask(Saved, Action{Do: SaveCheckpoint, Checkpoint: i.saving, Kept: kept})
}

// commitStore commits what was written to a sink's store. With a new epoch it is a fence too: whoever read the cursor
// before cannot commit any more.
func (i *Instance) commitStore(epoch uint64) bool {
	at := &i.at
	if !i.restored {
		at = &i.base
	}
	i.storing, i.newEpoch = standing(at, epoch), epoch
	return i.ask(Saved, Action{Do: CommitStore, From: i.store, To: i.storing})
}

func (i *Instance) saved(in *Input) bool {
	switch in.Outcome {
	case Done:
		return i.saveDone()
	case Stale:
		if i.cfg.Naive {
			i.since.inputs = 0
			return i.ask(Opened, Action{Do: Open})
		}
		return i.refused()
	}
	switch {
	case i.cfg.Role == Sink: // what was written since the last commit may be gone
		return i.doubt()
	case in.Outcome == Failed && in.Failure != OK:
		return i.unsavable(in.Failure)
	case in.Outcome == Failed && i.fails >= maxFails:
		return i.leave(Broken, "the stage's state cannot be saved")
	case in.Outcome == Failed || in.Outcome == Full: // those upstream may wait for it: it cannot be left out
		i.want.checkpoint = true
		return i.failing()
	}
	return i.doubt()
}

func (i *Instance) saveDone() bool {
	if i.restored {
		i.outs = i.outs[:copy(i.outs, i.outs[min(uint64(len(i.outs)), i.at.out-i.base.out):])]
		i.base.set(&i.at)
		i.ledger.settle(&i.base)
	}
	if i.since.inputs > 0 {
		i.count, i.careful = countNone, false
	}
	i.point, i.store, i.epoch = i.saving, i.storing, i.newEpoch
	i.opens, i.unsaved = 0, 0
	i.fails, i.since.inputs, i.since.bytes, i.want.checkpoint = 0, 0, 0, false
	if i.intent != outputs {
		return i.append(i.intent, i.write)
	}
	return true
}

// drain leaves with a checkpoint where there can be one.
func (i *Instance) drain() bool {
	if i.clean() && i.since.inputs > 0 {
		return i.save()
	}
	return i.leave(Drained, "")
}

// close ends the job for this stage: the end event, which consumers read, then the end control.
func (i *Instance) close() bool {
	end := &schemas.End{Consumed: i.at.inputs, Hash: hex.EncodeToString(i.at.hash[:])}
	switch {
	case i.at.out < i.stored && i.compares():
		return i.nondeterministic(fmt.Sprintf("%d events came out when they were computed again, %d before", i.at.out, i.stored))
	case i.cfg.Role != Sink && !EndEarly.on():
		end.Out = i.at.out + 1
		return i.append(decideEndEvent, Write{Kind: WriteEnd, Sequence: end.Out, End: end})
	case i.since.inputs > 0 && !EndUncommitted.on():
		return i.save()
	}
	i.end = end
	return true
}
