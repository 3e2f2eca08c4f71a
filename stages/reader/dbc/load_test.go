package dbc

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sample = `VERSION "1"

NS_ :
	NS_DESC_
	CM_
	VAL_
	SIG_VALTYPE_
	SG_MUL_VAL_

BS_:

BU_: ECU DASH

BO_ 291 STATUS: 8 ECU
 SG_ Speed : 8|16@1+ (0.01,-5) [0|655.35] "km/h" DASH
 SG_ Torque : 7|12@0- (0.5,0) [-1024|1023.5] "Nm" DASH,ECU
 SG_ Ratio : 32|32@1- (1,0) [0|0] "" Vector__XXX

BO_ 2364540158 EEC1: 8 Vector__XXX
 SG_ EngineSpeed : 24|16@1+ (0.125,0) [0|8031.875] "rpm" Vector__XXX

CM_ BO_ 291 "What the car
 does";
CM_ SG_ 291 Speed "Over ground";
VAL_ 291 Torque 0 "none" 1 "little" ;
SIG_VALTYPE_ 291 Ratio : 1;
`

func mustLoad(t testing.TB, file string) *Database {
	t.Helper()
	db, err := Load("car.dbc", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestLoadKeepsWhatDescribesSignals(t *testing.T) {
	db := mustLoad(t, sample)
	m, ok := db.Message(291, false)
	if !ok || m.Name != "STATUS" || m.Length != 8 || m.Sender != "ECU" || m.Comment != "What the car  does" || m.Line != 14 {
		t.Fatalf("message 291 = %+v", m)
	}
	speed, err := m.Signal("Speed")
	if err != nil {
		t.Fatal(err)
	}
	if speed.Unit != "km/h" || speed.Comment != "Over ground" || speed.Max != 655.35 || speed.Line != 15 || speed.Factor != 0.01 || speed.Offset != -5 {
		t.Errorf("Speed = %+v", speed)
	}
	torque, _ := m.Signal("Torque")
	if label, _ := torque.Label(1); label != "little" || !torque.Motorola || torque.Kind != KindSigned {
		t.Errorf("Torque = %+v", torque)
	}
	if ratio, _ := m.Signal("Ratio"); ratio.Kind != KindFloat32 {
		t.Errorf("Ratio = %+v", ratio)
	}
	if len(db.Warnings) != 0 {
		t.Errorf("warnings = %v", db.Warnings)
	}
}

func TestMessageIDs(t *testing.T) {
	db := mustLoad(t, sample)
	if _, ok := db.Message(0xcf004fe, false); ok {
		t.Error("29-bit id found as 11 bits")
	}
	m, ok := db.Message(0xcf004fe, true)
	if !ok || m.Name != "EEC1" || m.ID != 0xcf004fe {
		t.Errorf("EEC1 = %+v, %v", m, ok)
	}
	if m, ok := db.Message(0xcf004fe|ExtendedFlag, true); !ok || m.Name != "EEC1" {
		t.Error("the flag of extended ids must not count")
	}
	if m, err := db.MessageByID(0xcf004fe); err != nil || m.Name != "EEC1" {
		t.Errorf("by id: %v, %v", m, err)
	}
}

func TestUnknownNamesComeWithCloseOnes(t *testing.T) {
	db := mustLoad(t, sample)
	_, err := db.MessageByName("STATSU")
	var unknown *UnknownError
	if !errors.As(err, &unknown) || !slices.Equal(unknown.Close, []string{"STATUS"}) {
		t.Errorf("message: %v", err)
	}
	m, _ := db.MessageByName("STATUS")
	_, err = m.Signal("speed_")
	if err == nil || err.Error() != `no signal "speed_" in STATUS; close names: Speed` {
		t.Errorf("signal: %v", err)
	}
	if _, err = db.MessageByID(5); err == nil || err.Error() != `no message "5 (0x5)" in car.dbc` {
		t.Errorf("id: %v", err)
	}
	if _, err = m.Signal("Wobble_and_more"); !errors.As(err, &unknown) || unknown.Close != nil {
		t.Errorf("nothing is close: %v", err)
	}
}

// Each of these stops go.einride.tech/can's parser at the line that matters; ours goes on, and says so unless it is harmless.
func TestLoadTolerates(t *testing.T) {
	const head = "BO_ 100 M: 8 X\n"
	good := Signal{Name: "S", Unit: "u", Size: 8, Factor: 2, Offset: 1, Max: 9, Line: 2}
	tests := []struct {
		name, file string
		want       func(s *Signal)
		warnings   int
	}{
		{"no receiver", head + ` SG_ S : 0|8@1+ (2,1) [0|9] "u"`, nil, 1},
		{"receivers without commas", head + ` SG_ S : 0|8@1+ (2,1) [0|9] "u" A B`, nil, 1},
		{"plus sign", head + ` SG_ S : 0|8@1+ (+2,+1) [0|9] "u" X`, nil, 1},
		{"no leading digit", head + ` SG_ S : 0|8@1+ (2,.5) [0|9] "u" X`, func(s *Signal) { s.Offset = 0.5 }, 0},
		{"infinite range", head + ` SG_ S : 0|8@1+ (2,1) [-inf|x] "u" X`, func(s *Signal) { s.Min, s.Max = -1, 0 }, 1},
		{"name with a dash", head + ` SG_ S-1 : 0|8@1+ (2,1) [0|9] "u" X`, func(s *Signal) { s.Name = "S-1" }, 1},
		{"Windows-1252", head + " SG_ S : 0|8@1+ (2,1) [0|9] \"\xb0C\" X", func(s *Signal) { s.Unit = "°C" }, 0},
		{"UTF-8 with byte order mark", "\xef\xbb\xbf" + head + ` SG_ S : 0|8@1+ (2,1) [0|9] "°C" X`, func(s *Signal) { s.Unit = "°C" }, 0},
		{"carriage returns", strings.ReplaceAll(head+" SG_ S : 0|8@1+ (2,1) [0|9] \"u\" X\n", "\n", "\r\n"), nil, 0},
		{"comment lines", "// a\n" + head + "// b\n" + ` SG_ S : 0|8@1+ (2,1) [0|9] "u" X`, func(s *Signal) { s.Line = 4 }, 0},
		{"labels from a table", head + " SG_ S : 0|8@1+ (2,1) [0|9] \"u\" X\nVAL_TABLE_ T 1 \"a\" 0 \"b\" ;\nVAL_ 100 S T ;",
			func(s *Signal) { s.Values = []ValueLabel{{1, "a"}, {0, "b"}} }, 0},
		{"labels of a signal that is not there", head + " SG_ S : 0|8@1+ (2,1) [0|9] \"u\" X\nVAL_ 100 Z 1 \"a\";\nVAL_ 9 S 1 \"a\";", nil, 2},
		{"string that is never closed", head + " SG_ S : 0|8@1+ (2,1) [0|9] \"u\" X\nCM_ BO_ 100 \"oops;\nVAL_ 100 S 1 \"a\";",
			func(s *Signal) { s.Values = []ValueLabel{{1, "a"}} }, 1},
		{"text before the first statement", "hello\n" + head + ` SG_ S : 0|8@1+ (2,1) [0|9] "u" X`, func(s *Signal) { s.Line = 3 }, 1},
		{"second message of an id", "BO_ 100 OLD: 8 X\n SG_ S : 0|9@1+ (2,1) [0|9] \"u\" X\n" + head + ` SG_ S : 0|8@1+ (2,1) [0|9] "u" X`,
			func(s *Signal) { s.Line = 4 }, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db := mustLoad(t, tt.file)
			m, err := db.MessageByName("M")
			if err != nil || len(m.Signals) != 1 {
				t.Fatalf("M = %+v, %v", m, err)
			}
			want := good
			if tt.want != nil {
				tt.want(&want)
			}
			got := *m.Signals[0]
			if tt.name == "infinite range" {
				want.Min = got.Min // -Inf; the range decodes nothing
			}
			got.first, got.last, got.offset = 0, 0, 0
			if d := cmp.Diff(want, got, cmp.AllowUnexported(Signal{})); d != "" {
				t.Error(d)
			}
			if len(db.Warnings) != tt.warnings {
				t.Errorf("warnings = %v, want %d", db.Warnings, tt.warnings)
			}
		})
	}
}

func TestLoadTakesLargeIDsAs29Bits(t *testing.T) {
	db := mustLoad(t, "BO_ 2364540 BIG: 8 X\n SG_ S : 0|8@1+ (1,0) [0|9] \"\" X")
	if m, ok := db.Message(2364540, true); !ok || m.Name != "BIG" || len(db.Warnings) == 0 {
		t.Errorf("%+v, %v, %v", m, ok, db.Warnings)
	}
}

func TestLoadErrorsNameEveryLine(t *testing.T) {
	file := `BO_ x M: 8 X
 SG_ A : 0|8@1+ (1,0) [0|9] "" X
BO_ 5 N: 8 X
 SG_ B : 0|8@7+ (1,0) [0|9] "" X
 SG_ C m1 : 0|8@1+ (1,0) [0|9] "" X
 SG_ D : 99999|8@1+ (1,0) [0|9] "" X
SIG_VALTYPE_ 5 C : 7;
`
	_, err := Load("bad.dbc", []byte(file))
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	prefixes := []string{"bad.dbc:1: BO_", "bad.dbc:4: SG_", "bad.dbc:6: signal D", "bad.dbc:7: SIG_VALTYPE_", "bad.dbc:5: signal C is multiplexed"}
	if len(lines) != len(prefixes) {
		t.Fatalf("errors:\n%v", err)
	}
	for i, p := range prefixes {
		if !strings.HasPrefix(lines[i], p) {
			t.Errorf("error %d = %q, want %q…", i, lines[i], p)
		}
	}
	var syntax *SyntaxError
	if !errors.As(err, &syntax) || syntax.Line != 1 {
		t.Errorf("first = %+v", syntax)
	}
}

func TestLoadRefusesWhatIsNoDatabase(t *testing.T) {
	for _, file := range []string{"", "hello world", "MDF     4.10\x00\x00", " SG_ A : 0|8@1+ (1,0) [0|9] \"\" X"} {
		if db, err := Load("x", []byte(file)); err == nil {
			t.Errorf("%q: %+v", file, db)
		}
	}
}

func TestLoadRefusesSwitchCycles(t *testing.T) {
	file := `BO_ 5 N: 8 X
 SG_ A m1M : 0|8@1+ (1,0) [0|9] "" X
 SG_ B m1M : 8|8@1+ (1,0) [0|9] "" X
SG_MUL_VAL_ 5 A B 1-1;
SG_MUL_VAL_ 5 B A 1-1;
`
	if _, err := Load("x", []byte(file)); err == nil || !strings.Contains(err.Error(), "x:2: signal A is selected by itself") {
		t.Errorf("err = %v", err)
	}
}
