package transport

import (
	"context"

	"github.com/milepost-dev/milepost/schemas"
)

// An Adopter is a Log that goes on with chains that began elsewhere: what a mirror needs where the source has trimmed a beginning.
type Adopter interface {
	// Adopt takes an empty chain for writing whose out events up to a sequence, with so many bytes of data, lie nowhere any
	// more: the next one is behind them. Whoever has taken them reads on at position 0. Nothing is stored until the first
	// append; State.Out and OutBytes count them from then on. ErrStale: the chain is not empty.
	Adopt(ctx context.Context, id schemas.ChainID, out, bytes uint64) (Chain, error)
}
