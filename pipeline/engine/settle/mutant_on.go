//go:build mutants

package settle

// mutant is the one that is on; set by the test before its goroutines start.
var mutant Mutant

func (m Mutant) on() bool { return m == mutant }
