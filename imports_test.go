// Package milepost_test holds the rules about the tree as a whole.
package milepost_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/milepost-dev/milepost/"

// allowed says which packages of ours a package may import; the longest matching prefix of the importer decides. A "*" stands
// for one path element. Data walks one way: stages never see a broker, brokers never see a stage.
var allowed = []struct {
	importer string
	may      []string
}{
	{"schemas", nil},
	{"schemas/arrowipc", []string{"schemas"}},
	{"stages/reader/mdf", []string{"stages/reader/mdf"}},
	{"stages/reader/mdf/mdfarrow", []string{"stages/reader/mdf"}},
	{"stages/reader/mdf/digest", []string{"stages/reader/mdf", "stages/reader/dbc"}},
	{"stages/reader/dbc", nil},
	{"pipeline", []string{"schemas"}},
	{"transport", []string{"schemas"}},
	{"pipeline/spec", []string{"pipeline", "schemas"}},
	{"pipeline/pipelinetest", []string{"pipeline", "schemas", "schemas/arrowipc"}},
	{"transport/memory", []string{"transport", "schemas"}},
	{"transport/jetstream", []string{"transport", "schemas"}},
	{"transport/kafka", []string{"transport", "schemas"}},
	{"transport/mirror", []string{"transport", "schemas"}},
	{"transport/history", []string{"transport", "schemas"}},
	{"transport/transporttest", []string{"transport", "schemas"}},
	{"pipeline/job", []string{"transport", "schemas"}},
	{"pipeline/view", []string{"pipeline", "transport", "schemas", "schemas/arrowipc"}},
	{"pipeline/render", []string{"pipeline/spec"}},
	{"pipeline/engine/settle", []string{"transport", "schemas", "pipeline/engine/settle"}},
	{"pipeline/engine", []string{"pipeline", "pipeline/spec", "pipeline/job", "pipeline/engine/settle", "transport", "schemas", "schemas/arrowipc"}},
	{"stages/reader/mf4/binding", []string{"pipeline", "pipeline/spec", "schemas"}}, // decodes a file that a user writes: adr/0005
	{"stages/reader", []string{"pipeline", "schemas", "stages/reader/mdf", "stages/reader/dbc"}},
	{"stages/process", []string{"pipeline", "schemas", "stages/reader/dbc"}},
	{"stages/analysis", []string{"pipeline", "schemas"}},
	{"stages/analysis/sink", []string{"pipeline", "schemas", "stages/analysis/sink/internal/"}},
	{"stages", []string{"pipeline", "pipeline/view", "stages/"}},
	{"cmd", []string{"*"}},
	{"e2e", []string{"*"}},
	{"samples", []string{"stages/reader/mdf"}},
	{"examples", []string{"pipeline", "schemas", "stages", "cmd", "examples/"}},
	{"bench", []string{"*"}},
}

func TestImports(t *testing.T) {
	for pkg, imports := range packages(t) {
		may, found := rule(pkg)
		if !found {
			t.Errorf("package %s has no rule: say in this file what it may import", pkg)
			continue
		}
		for _, i := range imports {
			if !permitted(pkg, i, may) {
				t.Errorf("%s may not import %s", pkg, i)
			}
		}
	}
}

// packages lists our packages and, of ours, what each imports outside its tests.
func packages(t *testing.T) map[string][]string {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	list := map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		name, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours {
			continue // the root itself holds tests only
		}
		list[name] = nil
		for _, i := range p.Imports {
			if i, ours := strings.CutPrefix(i, module); ours {
				list[name] = append(list[name], i)
			}
		}
	}
}

func rule(pkg string) (may []string, found bool) {
	longest := -1
	for _, r := range allowed {
		if (pkg == r.importer || strings.HasPrefix(pkg, r.importer+"/")) && len(r.importer) > longest {
			longest, may, found = len(r.importer), r.may, true
		}
	}
	return may, found
}

// permitted says whether may lists the import: itself, "*" for everything, or a prefix that ends in a slash. Within its own
// folder a stage may be split into packages.
func permitted(pkg, imported string, may []string) bool {
	if strings.HasPrefix(imported, pkg+"/") || strings.HasPrefix(pkg, imported+"/") && strings.Count(imported, "/") >= 2 {
		return true
	}
	for _, m := range may {
		if m == "*" || m == imported || strings.HasSuffix(m, "/") && strings.HasPrefix(imported, m) {
			return true
		}
	}
	return false
}
