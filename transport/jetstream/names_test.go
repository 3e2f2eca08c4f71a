package jetstream

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

func TestEncodeIsOneToken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z0-9=_.*> -]*`)).Draw(t, "name")
		token := encode(name)
		if strings.Trim(token, "abcdefghijklmnopqrstuvwxyz0123456789-=") != "" {
			t.Fatalf("%q becomes %q", name, token)
		}
		if back, err := decode(token); err != nil || back != name {
			t.Fatalf("%q becomes %q becomes %q (%v)", name, token, back, err)
		}
	})
}

func TestNamesAreReadable(t *testing.T) {
	n := newNames("aeb-demo", "aeb@2")
	if n.stream != "MP_aeb-demo_aeb=402" || n.chain("j-1")+"out" != "mp.aeb-demo.aeb=402.j-1.out" {
		t.Fatalf("stream %s, subject %sout", n.stream, n.chain("j-1"))
	}
}

func TestParseSubject(t *testing.T) {
	l := &log{names: newNames("p", "s"), config: transport.LogConfig{Pipeline: "p", Stage: "s"}}
	for subject, want := range map[string]transport.Kind{
		"mp.p.s.j-1.out": transport.Out, "mp.p.s.j-1.dlq": transport.DeadLetter, "mp.p.s.j-1.ctl": transport.Control,
		"mp.p.s.j-1.ckpt": transport.Snapshot, "mp.p.s.j-1.page.00ff": transport.Page,
	} {
		if id, k, err := l.parse(subject); err != nil || k != want || id != (schemas.ChainID{Job: "j-1", Stage: "s"}) {
			t.Errorf("%s is %s of %s (%v)", subject, k, id, err)
		}
	}
	for _, subject := range []string{"mp.p.s.j-1", "mp.p.s.j-1.other", "mp.p.s.j=1.out", "mp.p.s.j=zz.out", ""} {
		if id, k, err := l.parse(subject); err == nil {
			t.Errorf("%s was taken for %s of %s", subject, k, id)
		}
	}
}
