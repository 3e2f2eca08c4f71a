package settle

import "github.com/milepost-dev/milepost/schemas"

// Floor is the position up to which a chain's out events can be trimmed (rule 9): no consumer's checkpoint and not the
// chain's own last one needs them. own is the Out of the chain's last checkpoint, 0 without one, and closed says that its end
// control is stored, so that it will never be run again; consumers are the checkpointed cursors, on this edge, of every stage
// and sink that the run registered and that has not closed, zero for one that has none yet. ok is false when nothing can be said: the chain's own
// checkpoint is behind all consumers, whose positions alone are known; it moves on later.
func Floor(own uint64, closed bool, consumers []schemas.EdgeCursor) (below schemas.Position, ok bool) {
	if len(consumers) == 0 {
		return 0, false
	}
	lowest := consumers[0]
	for _, c := range consumers[1:] {
		if c.Sequence < lowest.Sequence {
			lowest = c
		}
	}
	if lowest.Sequence > own && !closed && !OwnCheckpointIgnored.on() {
		return 0, false
	}
	return lowest.Position, lowest.Position > 0
}
