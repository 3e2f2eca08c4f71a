package milepost_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// code is that of an error or a warning, as it stands in brackets behind a message.
var code = regexp.MustCompile(`\b[EW]-[a-z][a-z0-9]*(-[a-z0-9]+)*\b`)

const codePages = "docs/errors/"

// TestEveryCodeHasItsPage: a code that the program prints leads to the page of the docs with the same name, and a page to a code.
func TestEveryCodeHasItsPage(t *testing.T) {
	printed := codes(t)
	if len(printed) < 30 {
		t.Fatalf("%d codes were found in the sources: %v", len(printed), slices.Sorted(maps.Keys(printed)))
	}
	index, err := os.ReadFile(codePages + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	for c, where := range printed {
		page, err := os.ReadFile(codePages + c + ".md")
		if err != nil {
			t.Errorf("%s prints [%s], which has no page: %v", where, c, err)
			continue
		}
		text := string(page)
		if !strings.HasPrefix(text, "# "+c+"\n") || !strings.Contains(strings.ReplaceAll(text, `"code":"`+c, "["+c+"]"), "["+c+"]") ||
			!strings.Contains(text, "**Why.**") || !strings.Contains(text, "**What to do.**") {
			t.Errorf("%s%s.md lacks its heading, an example with the code, why, or what to do", codePages, c)
		}
		if !strings.Contains(string(index), "["+c+"]("+c+".md)") {
			t.Errorf("%sREADME.md has no link to %s", codePages, c)
		}
	}
	pages, err := filepath.Glob(codePages + "*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		name := strings.TrimSuffix(filepath.Base(p), ".md")
		if _, ok := printed[name]; !ok && name != "README" {
			t.Errorf("%s is about a code that nothing prints", p)
		}
	}
	for _, c := range code.FindAllString(string(index), -1) {
		if _, ok := printed[c]; !ok {
			t.Errorf("%sREADME.md names %s, which nothing prints", codePages, c)
		}
	}
}

// codes collects the codes in the strings of all sources but tests, each with a file that has it.
func codes(t *testing.T) map[string]string {
	found := map[string]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.BasicLit); ok && s.Kind == token.STRING {
				for _, c := range code.FindAllString(s.Value, -1) {
					found[c] = path
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
