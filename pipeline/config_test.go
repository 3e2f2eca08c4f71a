package pipeline

import (
	"errors"
	"testing"
)

func TestSize(t *testing.T) {
	for in, want := range map[string]Size{"0": 0, "512": 512, "256KiB": 256 << 10, "16GB": 16e9, "1.5 MB": 1.5e6, "3B": 3, "1TiB": 1 << 40, "2kB": 2000} {
		var s, back Size
		if err := s.UnmarshalText([]byte(in)); err != nil || s != want {
			t.Errorf("%s: %d, %v, want %d", in, s, err, want)
		}
		if err := back.UnmarshalText([]byte(s.String())); err != nil || back != s {
			t.Errorf("%s: written as %s, read as %d, %v", in, s, back, err)
		}
	}
	for _, in := range []string{"", "-1", "GB", "1XB", "9999999TiB", "1e400", "NaN", "inf", "0x10", "1_000", "9223372036854775807KiB"} {
		var s Size
		if err := s.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q was read as %d", in, s)
		}
	}
	for want, s := range map[string]Size{"64MiB": 64 << 20, "16GB": 16e9, "0": 0, "1kB": 1000, "1KiB": 1024, "7": 7, "1500": 1500} {
		if got := s.String(); got != want {
			t.Errorf("%d is written as %s, want %s", s, got, want)
		}
	}
}

func TestFieldError(t *testing.T) {
	inner := errors.New("why")
	err := error(&FieldError{Path: "a.b", Err: inner})
	if err.Error() != "a.b: why" || !errors.Is(err, inner) {
		t.Error(err)
	}
}
