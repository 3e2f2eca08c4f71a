package mdf

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestMemo(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	ascending := make([]int64, 3000)
	for i := range ascending {
		ascending[i] = int64(64 + 8*i + i%3)
	}
	shuffled, descending, overlapping := slices.Clone(ascending), slices.Clone(ascending), make([]int64, 9000)
	rnd.Shuffle(len(shuffled), func(i, k int) { shuffled[i], shuffled[k] = shuffled[k], shuffled[i] })
	slices.Reverse(descending)
	for i := range overlapping {
		overlapping[i] = int64(i)
	}
	for name, offsets := range map[string][]int64{"ascending": ascending, "descending": descending, "shuffled": shuffled,
		"overlapping": overlapping, "negative": {-1, -64, -4096}} {
		t.Run(name, func(t *testing.T) {
			var m memo[int]
			for i, off := range offsets {
				if v, ok := m.get(off); ok {
					t.Fatalf("%#x is there before it is put: %d", off, v)
				}
				m.put(off, i)
				if k := rnd.IntN(i + 1); !holds(&m, offsets[k], k) {
					t.Fatalf("%#x is lost", offsets[k])
				}
			}
			for i, off := range offsets {
				if !holds(&m, off, i) {
					t.Errorf("%#x is lost", off)
				}
			}
		})
	}
}

func holds(m *memo[int], off int64, want int) bool {
	v, ok := m.get(off)
	return ok && v == want
}
