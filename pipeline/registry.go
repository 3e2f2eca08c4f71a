package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// A Registry is the list of stage types that a binary knows; the zero value is empty and ready. It is filled before use, by
// one goroutine, and only read afterwards.
type Registry struct{ types map[string]StageType }

// Add lists types. It panics on a name that is taken or is not role/type: a programmer's error, seen at the first start.
func (r *Registry) Add(types ...StageType) {
	if r.types == nil {
		r.types = map[string]StageType{}
	}
	for _, t := range types {
		name := t.Info().Name
		if roleOf(name) == "" {
			panic(fmt.Sprintf("stage type %q is not named reader/, process/, analysis/ or sink/ something", name))
		}
		if _, taken := r.types[name]; taken {
			panic(fmt.Sprintf("stage type %q is listed twice", name))
		}
		r.types[name] = t
	}
}

// Lookup returns the type of that name and whether there is one.
func (r *Registry) Lookup(name string) (StageType, bool) {
	t, ok := r.types[name]
	return t, ok
}

// Names lists all names in order.
func (r *Registry) Names() []string {
	names := make([]string, 0, len(r.types))
	for n := range r.types {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func roleOf(name string) Role {
	role, kind, ok := strings.Cut(name, "/")
	if !ok || kind == "" {
		return ""
	}
	switch r := Role(role); r {
	case RoleReader, RoleProcess, RoleAnalysis, RoleSink:
		return r
	}
	return ""
}
