package view

import (
	"context"

	"github.com/milepost-dev/milepost/pipeline"
)

// Config is the `with:` block of sink/dashboard: nothing to say.
type Config struct{}

// Type is what a registry lists as sink/dashboard: the result store of the process that serves the dashboard, which Build
// takes from its context (WithStore).
var Type = pipeline.SinkType[Config]{
	Name: "sink/dashboard", Summary: "documents and an overview of all signals, for the dashboard of this process", Version: "1",
	Accepts: []string{pipeline.Any}, Local: true,
	Build: func(ctx context.Context, _ Config) (pipeline.Sink, error) {
		s, ok := ctx.Value(storeKey{}).(*Store)
		if !ok {
			return nil, ErrNoStore
		}
		return shared{s}, nil
	},
}

type storeKey struct{}

// WithStore returns a context in which stages built by the Type write into a store. The caller goes on owning it.
func WithStore(ctx context.Context, s *Store) context.Context {
	return context.WithValue(ctx, storeKey{}, s)
}

// shared is a sink on a store that others use too.
type shared struct{ *Store }

// Close leaves the store open.
func (shared) Close() error { return nil }
