package binding

import (
	"slices"
	"strings"
)

// Closest returns up to limit of names that are close to name, closest first, then in their own order: equal but for case
// and separators, one holding the other, or different by at most a third of the letters.
func Closest(name string, names []string, limit int) []string {
	type candidate struct {
		name     string
		distance int
	}
	want := fold(name)
	var found []candidate
	for _, n := range names {
		if d, ok := distance(want, fold(n)); ok {
			found = append(found, candidate{n, d})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return a.distance - b.distance })
	var out []string
	for _, c := range found[:min(len(found), limit)] {
		out = append(out, c.name)
	}
	return out
}

func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' || r == '.' {
			return -1
		}
		return r
	}, strings.ToLower(s))
}

// distance grades how close two folded names are: recorders abbreviate (VehSpd for VehicleSpeed), so letters that stand in
// the other name in order count as close too.
func distance(a, b string) (int, bool) {
	if a == "" || b == "" {
		return 0, false
	}
	if strings.Contains(a, b) || strings.Contains(b, a) {
		return abs(len(a) - len(b)), min(len(a), len(b)) >= 3
	}
	d := levenshtein(a, b)
	if d <= max(2, max(len(a), len(b))/3) {
		return d, true
	}
	return 100 + d, min(len(a), len(b)) >= 4 && a[0] == b[0] && (subsequence(a, b) || subsequence(b, a))
}

func subsequence(short, long string) bool {
	i := 0
	for j := 0; i < len(short) && j < len(long); j++ {
		if short[i] == long[j] {
			i++
		}
	}
	return i == len(short)
}

func abs(n int) int { return max(n, -n) }

func levenshtein(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
