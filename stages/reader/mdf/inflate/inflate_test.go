package inflate

import (
	"bytes"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zlib"
)

func deflate(t testing.TB, level int, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// contents are data of every character: none, short, random, one byte, short periods, text, sparse, skewed.
func contents() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 20_000)
	skewed := make([]byte, 60_000)
	sparse := make([]byte, 40_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for i := range skewed { // codes of 1 to 15 bits
		for skewed[i] = 0; skewed[i] < 40 && r.Uint32()%8 < 5; {
			skewed[i]++
		}
	}
	for range 500 {
		sparse[r.IntN(len(sparse))] = byte(r.Uint32())
	}
	all := map[string][]byte{"nothing": {}, "a byte": {7}, "noise": noise, "skewed": skewed, "sparse": sparse,
		"text": bytes.Repeat([]byte("the quick brown fox; "), 1000), "zeros": make([]byte, 20_000)}
	for period := range 12 {
		all[fmt.Sprint("period ", period+1)] = bytes.Repeat(noise[:period+1], 3000)
	}
	return all
}

func TestInflatesWhatWasDeflated(t *testing.T) {
	var d Decoder
	for name, data := range contents() {
		for _, level := range []int{zlib.HuffmanOnly, 0, 1, 6, 9} {
			z := deflate(t, level, data)
			got := make([]byte, len(data))
			if err := d.Zlib(got, append(z, "what follows"...)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s, level %d: %v", name, level, err)
			}
		}
	}
}

func TestOtherLengthsAreRefused(t *testing.T) {
	var d Decoder
	for name, data := range contents() {
		z := deflate(t, 6, data)
		if err := d.Zlib(make([]byte, len(data)+1), z); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s, a byte too few: %v", name, err)
		}
		if len(data) > 0 {
			if err := d.Zlib(make([]byte, len(data)-1), z); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s, a byte too many: %v", name, err)
			}
		}
		for cut := range min(len(z), 100) {
			if err := d.Zlib(make([]byte, len(data)), z[:len(z)-1-cut]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s, %d bytes cut: %v", name, cut+1, err)
			}
		}
	}
}

// reference inflates with the library; ok says that it takes the stream and that it gives size bytes.
func reference(z []byte, size int) (data []byte, ok bool) {
	r, err := zlib.NewReader(bytes.NewReader(z))
	if err != nil {
		return nil, false
	}
	data, err = io.ReadAll(io.LimitReader(r, int64(size)+1))
	return data, err == nil && len(data) == size
}

// check compares with the library: the same streams are taken, with the same bytes.
func check(t *testing.T, d *Decoder, z []byte, size int) {
	t.Helper()
	got := make([]byte, size)
	err := d.Zlib(got, z)
	want, ok := reference(z, size)
	if ok != (err == nil) || ok && !bytes.Equal(got, want) {
		t.Fatalf("stream of %d bytes for %d: %v, the library takes it: %v", len(z), size, err, ok)
	}
}

func TestDamageIsFoundAsTheLibraryFindsIt(t *testing.T) {
	var d Decoder
	r := rand.New(rand.NewPCG(3, 4))
	for name, data := range contents() {
		data = data[:min(len(data), 3000)]
		for range 60 {
			z := deflate(t, r.IntN(12)-2, data)
			for range 1 + r.IntN(3) {
				z[r.IntN(len(z))] ^= 1 << r.IntN(8)
			}
			if !t.Run(name, func(t *testing.T) { check(t, &d, z, len(data)) }) {
				return
			}
		}
	}
}

// FuzzZlib takes the body of a stream, so that header and checksum do not stand in the way of damage behind them.
func FuzzZlib(f *testing.F) {
	for _, data := range contents() {
		data = data[:min(len(data), 2000)]
		for _, level := range []int{0, 1, 6, zlib.HuffmanOnly} {
			z := deflate(f, level, data)
			f.Add(z[2:len(z)-4], uint16(len(data)))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, size uint16) {
		var d Decoder
		check(t, &d, append([]byte{0x78, 0x9c}, body...), int(size))
		z := append([]byte{0x78, 0x9c}, body...)
		if r, err := zlib.NewReader(bytes.NewReader(z)); err == nil {
			if data, _ := io.ReadAll(io.LimitReader(r, 1<<16)); len(data) < 1<<16 {
				sum := adler32.Checksum(data)
				check(t, &d, append(z, byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)), len(data))
			}
		}
	})
}

func TestAdler32(t *testing.T) {
	for name, data := range contents() {
		for _, n := range []int{0, 1, 7, 127, 128, 129, 5504, 5505, 5552, 100_000} {
			if n = min(n, len(data)); Adler32(data[:n]) != adler32.Checksum(data[:n]) {
				t.Errorf("%s, %d bytes", name, n)
			}
		}
	}
	ones := bytes.Repeat([]byte{255}, 1<<20)
	if Adler32(ones) != adler32.Checksum(ones) {
		t.Error("bytes of 255")
	}
}

func TestDecoderDoesNotAllocate(t *testing.T) {
	var d Decoder
	data := contents()["skewed"]
	z, dst := deflate(t, 6, data), make([]byte, len(data))
	if n := testing.AllocsPerRun(10, func() { _ = d.Zlib(dst, z) }); n != 0 {
		t.Errorf("%v allocations a stream", n)
	}
}

func BenchmarkZlib(b *testing.B) {
	for _, name := range []string{"skewed", "text", "noise", "sparse"} {
		data := contents()[name]
		z, dst := deflate(b, 6, data), make([]byte, len(data))
		b.Run(name, func(b *testing.B) {
			var d Decoder
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := d.Zlib(dst, z); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/library", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			in := bytes.NewReader(z)
			r, err := zlib.NewReader(in)
			for b.Loop() {
				in.Reset(z)
				if err == nil {
					err = r.(zlib.Resetter).Reset(in, nil)
				}
				if _, e := io.ReadFull(r, dst); err != nil || e != nil {
					b.Fatal(err, e)
				}
			}
		})
	}
}

func BenchmarkAdler32(b *testing.B) {
	data := contents()["noise"]
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		Adler32(data)
	}
}

func BenchmarkAdler32Library(b *testing.B) {
	data := contents()["noise"]
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		adler32.Checksum(data)
	}
}
