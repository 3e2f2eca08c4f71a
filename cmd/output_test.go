package cmd

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestATableHasOneLineARow(t *testing.T) {
	var b strings.Builder
	rows := [][]string{{"j-1", "a\nb.mf4", "\x1b[2Jgone"}, {"j-2", "tab\there \u202e\u2028", "bad \xff byte"}, {"j-3", "Prüfung 試験.mf4", "'quoted' \\ kept"}}
	if err := table(&b, []string{"JOB", "RECORDING", "ERROR"}, rows); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	want := []string{`a\nb.mf4 `, `\x1b[2Jgone`, `tab\there \u202e\u2028 `, `bad \xff byte`, `Prüfung 試験.mf4 `, `'quoted' \ kept`}
	if len(lines) != 4 {
		t.Fatalf("%d lines:\n%s", len(lines), b.String())
	}
	for i, w := range want {
		if !strings.Contains(lines[1+i/2], w) {
			t.Errorf("no %q in %q", w, lines[1+i/2])
		}
	}
	if strings.ContainsAny(b.String(), "\x1b\t\u202e\u2028") || !utf8.ValidString(b.String()) {
		t.Errorf("%q", b.String())
	}
}
