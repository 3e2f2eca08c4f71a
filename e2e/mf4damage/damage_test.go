package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"
)

func TestDamageIsThatOfItsSeed(t *testing.T) {
	data, err := os.ReadFile("../../samples/sim_full_braking.mf4")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(blocksOf(data)); n < 50 {
		t.Fatalf("%d blocks found", n)
	}
	same, cut := 0, 0
	for i := range uint64(200) {
		a, b := damage(rand.New(rand.NewPCG(1, i)), data), damage(rand.New(rand.NewPCG(1, i)), data)
		if !bytes.Equal(a, b) {
			t.Fatalf("seed %d gives two files", i)
		}
		if bytes.Equal(a, data) {
			same++
		}
		if len(a) < len(data) {
			cut++
		}
	}
	if same > 20 || cut == 0 {
		t.Errorf("of 200 files %d are as before, %d are cut", same, cut)
	}
}
