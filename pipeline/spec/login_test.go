package spec

import (
	"strings"
	"testing"
)

func TestNATSLogins(t *testing.T) {
	const file = `version: 1
transport: { nats: { url: "URL", WITH } }
pipelines: { p: { stages: [{ name: read, uses: reader/mf4, with: { paths: [a.mf4] } }] } }
`
	for with, want := range map[string]string{
		`user: u, password: pw`:            "",
		`token: t0ken`:                     "",
		`nkey: SUAEXAMPLE`:                 "",
		`token: t0ken, user: u`:            "token and user both say who we are",
		`password: pw`:                     "password without user",
		`creds: secrets/nats.creds`:        `"${file:secrets/nats.creds}"`,
		`nkey: secrets/user.nk`:            `"${file:secrets/user.nk}"`,
		`tls: { cert: a.pem }`:             "cert and key go together",
		`replicas: 2`:                      "replicas",
		`tls: { ca: ca.pem }, replicas: 3`: "",
	} {
		_, ps := load(t, strings.NewReplacer("URL", "nats://a:4222,nats://b:4222", "WITH", with).Replace(file))
		text := render(t, ps)
		if (want == "") != (ps.Errors() == 0) || !strings.Contains(text, want) {
			t.Errorf("%s: %s", with, text)
		}
		if strings.Contains(text, "t0ken") {
			t.Errorf("a secret is told: %s", text)
		}
	}
	s, ps := load(t, strings.NewReplacer("URL", "nats://me:hidden@a:4222", "WITH", "replicas: 3").Replace(file))
	if s == nil {
		t.Fatal(render(t, ps))
	}
	if text := string(s.YAML()); strings.Contains(text, "hidden") || !strings.Contains(text, "***") || s.Transport.NATS.URL[0] != "nats://me:hidden@a:4222" {
		t.Errorf("the address's password is told: %s", text)
	}
}
