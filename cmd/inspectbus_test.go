package cmd_test

import (
	"encoding/json"
	"testing"
)

func TestInspectWithADatabase(t *testing.T) {
	l := setup(t)
	const bus, database = "../samples/sim_city_drive.mf4", "../samples/demo_car.dbc"
	var v struct {
		Bus []struct {
			ID      uint32
			Message string
			Frames  uint64
			Signals int
		}
	}
	if err := json.Unmarshal([]byte(l.with(t.Context(), 0, "inspect", bus, "--dbc", database, "-o", "json")), &v); err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, m := range v.Bus {
		if m.Frames == 0 || (m.Message == "") != (m.Signals == 0) {
			t.Errorf("%+v", m)
		}
		if m.Message != "" {
			named++
		}
	}
	if named == 0 {
		t.Errorf("no message in %+v", v.Bus)
	}
	l.wants(l.with(t.Context(), 0, "inspect", bus, "--dbc", database), "message", v.Bus[0].Message)

	l.write("other.dbc", "BO_ 2030 Foo: 8 X\n SG_ a : 0|8@1+ (1,0) [0|0] \"\" X\n")
	for _, args := range [][]string{{}, {"--decode-all"}, {"--digest"}} {
		l.with(t.Context(), 0, append([]string{"inspect", bus, "--dbc", l.path("other.dbc")}, args...)...)
		l.wants(l.stderr.String(), "no frame matches", "closest: ", "of Foo", "[W-dbc]")
	}
}
