package mf4

import (
	"fmt"
	"maps"
	"slices"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages/reader/mf4/binding"
)

// tracksInput is the input that is a list of objects.
const tracksInput = "tracks"

// CheckInputs warns of inputs of a stage that no signal is bound to: its function would see nothing, and a collision come out as
// a clean drive. A signal with nearly the name of such an input is told as what was probably meant.
func (c Config) CheckInputs(stage string, inputs []string) (warnings []error) {
	lib := &library{set: &binding.Set{}, signals: c.Signals}
	if c.Bindings == "" {
		b := lib.under(nil)
		return lacking("signals", "signals binds", &b, stage, inputs)
	}
	set, err := binding.Load(c.Bindings)
	if err != nil {
		return nil // found by Check
	}
	lib.set = set
	used := map[string]bool{}
	for _, l := range set.Logs {
		used[l.Binding] = true
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		b := lib.under(set.Bindings[name])
		warnings = append(warnings, lacking("bindings", fmt.Sprintf("binding %s of %s has", name, c.Bindings), &b, stage, inputs)...)
	}
	return warnings
}

// lacking says what of the inputs of a stage a binding lacks; has is how a sentence about it begins.
func lacking(field, has string, b *binding.Binding, stage string, inputs []string) (warnings []error) {
	for _, input := range inputs {
		names, bound, advice := []string{input}, b.Input(input) != nil, input
		if input == tracksInput {
			names, bound = binding.TargetNames, slots(b) > 0
			advice = "`tracks` of a binding, or " + binding.TargetDist + " and " + binding.TargetSpeed
		}
		if bound {
			continue
		}
		w := &pipeline.FieldError{Path: field, Code: "W-binding", Err: fmt.Errorf("%s no %s, which stage %s decides by: bind %s", has, input, stage, advice)}
		for _, name := range slices.Sorted(maps.Keys(b.Signals)) {
			if near := binding.Closest(name, names, 1); w.Meant == "" && len(near) > 0 && !slices.Contains(binding.InputNames, name) {
				w.Err, w.Meant = fmt.Errorf("%w (%s is none of its inputs)", w.Err, name), near[0]
				if field == "signals" {
					w.Path = "signals." + name
				}
			}
		}
		warnings = append(warnings, w)
	}
	return warnings
}
