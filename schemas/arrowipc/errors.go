package arrowipc

import "errors"

// Errors of this package; they are wrapped with the place.
var (
	ErrCorrupt     = errors.New("corrupt table data")          // no retry helps; the message says at which byte and what is wrong
	ErrUnsupported = errors.New("column type not on the wire") // Encode: the stage made a column that Decode would refuse
	ErrNoTables    = errors.New("a batch of no tables")        // Encode: the engine makes a progress event of it instead
)
