package stages_test

import (
	"os"
	"testing"

	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/stages"
)

func TestSchemaIsTheCommittedOne(t *testing.T) {
	want, err := spec.Schema(stages.Standard())
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../schemas/pipelines.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("schemas/pipelines.schema.json is not that of the stage types: make schema")
	}
}

func TestThePipelinesFileOfTheRepositoryIsValid(t *testing.T) {
	t.Chdir("..")
	_, problems := spec.Load(t.Context(), []string{"pipelines.yaml"}, spec.Options{Registry: stages.Standard()})
	if len(problems) > 0 {
		t.Errorf("%v", problems)
	}
}
