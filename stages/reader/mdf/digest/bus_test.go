package digest

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/stages/reader/dbc"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

func TestBusLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mf4")
	w, err := mdf.Create(path, mdf.WriterOptions{Start: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	g, err := w.AddFrames(mdf.FrameSpec{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // the third frame is too short for b
		err = errors.Join(err, g.Append(mdf.Frame{Time: float64(i), Bus: 1, ID: 7, Data: []byte{byte(i), 9}[:2-i/2]}),
			g.Append(mdf.Frame{Time: float64(i), Bus: 2, ID: 0x18F00400, Extended: true, Data: []byte{255}}))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	db, err := dbc.Load("a.dbc", []byte(`BO_ 7 M: 8 X
 SG_ a : 0|8@1+ (1,0) [0|0] "m" X
 SG_ b : 8|8@1+ (1,0) [0|0] "" X
BO_ 2565866496 J: 8 X
 SG_ c : 0|8@1+ (1,0) [0|0] "" X
BA_ "ProtocolType" "J1939";
`))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	warnings, err := Bus(t.Context(), &out, path, "a.mf4", db, "a.dbc")
	if err != nil || len(warnings) != 0 {
		t.Fatal(warnings, err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := []string{
		`{"signal":"a","message":"CAN1 message ID=0x7 EXT=False","n":3,"sha256":"` + three + `","time_sha256":"` + three + `","unit":"m","sum":3,"invalid":0}`,
		`{"signal":"b","message":"CAN1 message ID=0x7 EXT=False","n":2,"sum":18,"first":9,"t_last":1}`,
		`{"signal":"c","message":"SourceAddress = 0x0","n":3,"invalid":3,"first":255,"bus":2,"extended":true}`,
	}
	if len(lines) != len(want) {
		t.Fatalf("%s", out.String())
	}
	for i := range want {
		var g, w map[string]any
		if err := errors.Join(json.Unmarshal([]byte(lines[i]), &g), json.Unmarshal([]byte(want[i]), &w)); err != nil {
			t.Fatal(err)
		}
		for k, v := range w {
			if g[k] != v {
				t.Errorf("%s: %s is %v, want %v", w["signal"], k, g[k], v)
			}
		}
	}
	other, _ := dbc.Load("b.dbc", []byte("BO_ 9 M: 8 X\n SG_ a : 0|8@1+ (1,0) [0|0] \"\" X\n"))
	warnings, err = Bus(t.Context(), &out, path, "a.mf4", other, "b.dbc")
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "0x7 on bus 1 to 0x9 of M (2 away)") {
		t.Error(warnings, err)
	}
}
