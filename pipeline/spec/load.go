package spec

import (
	"context"
	"os"

	"github.com/milepost-dev/milepost/pipeline"
)

// Options are what Load needs besides the files; only Registry is required.
type Options struct {
	Registry  *pipeline.Registry
	Env       func(name string) (value string, ok bool) // nil: os.LookupEnv
	ReadFile  func(name string) ([]byte, error)         // for the files and ${file:…}; nil: the file system, 1 MiB at most
	Set       []string                                  // path=value, laid over the files in order
	Transport string                                    // embedded, memory, nats://host:port, kafka://host:port; replaces the block
	Fields    func(eventType string) []string           // names of a type's data fields, for `when`; nil or nothing: unchecked
}

// Load reads, layers, decodes and checks the files. The Spec is nil if the problems hold an error; warnings come with a Spec.
func Load(ctx context.Context, files []string, opts Options) (*Spec, Problems) {
	l := newLoader(opts)
	return l.load(ctx, files)
}

var _ = os.LookupEnv
