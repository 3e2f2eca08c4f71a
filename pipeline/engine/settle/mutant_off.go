//go:build !mutants

package settle

func (Mutant) on() bool { return false }
