package stages_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages"
)

// suites are the calls that hold a stage type to the suite of its role: cut at every batch, restored, compared; on one and two
// processors.
var suites = map[pipeline.Role]*regexp.Regexp{
	pipeline.RoleReader:   regexp.MustCompile(`pipelinetest\.TestReader\(`),
	pipeline.RoleProcess:  regexp.MustCompile(`pipelinetest\.(TestProcessor(Of)?|Run)\(`),
	pipeline.RoleAnalysis: regexp.MustCompile(`pipelinetest\.(TestProcessor(Of)?|Run)\(`),
	pipeline.RoleSink:     regexp.MustCompile(`pipelinetest\.TestSink\(`),
}

// TestEveryStageTypePassesItsSuite finds a registered type whose package does not call the suite.
func TestEveryStageTypePassesItsSuite(t *testing.T) {
	source, tests := map[string]string{}, map[string]string{} // by folder
	for _, root := range []string{".", "../pipeline/view"} {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") {
				return err
			}
			text, err := os.ReadFile(name)
			if strings.HasSuffix(name, "_test.go") {
				tests[filepath.Dir(name)] += string(text)
			} else {
				source[filepath.Dir(name)] += string(text)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	reg := stages.Standard()
	for _, name := range reg.Names() {
		typ, _ := reg.Lookup(name)
		declared := regexp.MustCompile(`Name:\s+"` + regexp.QuoteMeta(name) + `"`)
		found := false
		for folder, text := range source {
			if !declared.MatchString(text) {
				continue
			}
			found = true
			role := typ.Info().Role
			if !suites[role].MatchString(tests[folder]) {
				t.Errorf("%s: no test in %s calls %s", name, folder, suites[role])
			}
		}
		if !found {
			t.Errorf("%s is declared nowhere below stages", name)
		}
	}
}
