package pipeline

import "strings"

// Nearest returns the candidate that a user most likely meant, "" if none is near: a third of the letters may differ, of words of one or two
// letters none.
func Nearest(word string, candidates []string) string {
	best, least := "", (len(word)+1)/3+1
	if len(word) < 3 {
		least = 1
	}
	for _, c := range candidates {
		if c == "" || c == word {
			continue
		}
		if d := distance(fold(word), fold(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// fold makes names that differ in case and joints alone the same.
func fold(s string) string {
	return strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToLower(s))
}

// distance is the optimal string alignment distance in bytes: insertions, deletions, substitutions and swaps of neighbours.
func distance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}
