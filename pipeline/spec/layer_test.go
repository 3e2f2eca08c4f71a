package spec

import (
	"context"
	"strings"
	"testing"
	"time"
)

const base = `version: 1
transport: { nats: { url: "nats://old:4222", user: me, password: "${NOT_SET}" } }
defaults: { timeout: 1s, retry: { attempts: 7, backoff: 100ms } }
sinks:
  a: { parquet: { path: x, partition_by: [p, q] } }
  b: { parquet: { path: x } }
pipelines:
  p:
    stages:
      - { name: read, uses: reader/mf4, with: { paths: [a.mf4] }, to: [a, b] }
      - { name: aeb, uses: process/aeb, with: { decel: 5 } }
`

const over = `transport: { embedded: { dir: ./elsewhere } }
defaults: { timeout: 2s }
sinks:
  a: { parquet: { partition_by: [r] } }
  b: { dashboard: {} }
  c: { dashboard: {} }
pipelines:
  q:
    from: p/read
    stages: [{ name: check, uses: analysis/signal-health }]
`

func TestLayers(t *testing.T) {
	opts := testOptions(map[string]string{"a.yaml": base, "b.yaml": over})
	s, ps := Load(context.Background(), []string{"a.yaml", "b.yaml"}, opts)
	if s == nil {
		t.Fatal(render(t, ps))
	}
	if s.Transport.Kind() != "embedded" || s.Transport.NATS != nil || s.Transport.Embedded.Dir != "./elsewhere" {
		t.Errorf("transport = %+v, want it replaced whole", s.Transport)
	}
	st := s.Pipelines[0].Stages[1].Settings
	if st.Timeout != 2*time.Second || st.Retry.Attempts != 7 || st.Retry.Backoff != 100*time.Millisecond || st.Retry.MaxBackoff != 30*time.Second {
		t.Errorf("settings = %+v, want maps merged", st)
	}
	a := s.Sinks[0].Config.(*fileSinkConfig)
	if a.Path != "x" || strings.Join(a.PartitionBy, " ") != "r" {
		t.Errorf("sink a = %+v, want its list replaced and its path kept", a)
	}
	if s.Sinks[1].Uses != "sink/dashboard" {
		t.Errorf("sink b is %s, want another type to replace the sink", s.Sinks[1].Uses)
	}
	if len(s.Pipelines) != 2 || len(ps) != 1 || ps[0].Code != WarnUnused || ps[0].File != "b.yaml" {
		t.Errorf("%d pipelines, problems %v", len(s.Pipelines), ps)
	}
}

func TestLayersKeepPlaces(t *testing.T) {
	opts := testOptions(map[string]string{"a.yaml": base, "b.yaml": strings.Replace(over, "2s", "fast", 1), "c.yaml": "defaults: { retry: no }\n"})
	_, ps := Load(context.Background(), []string{"a.yaml", "b.yaml", "c.yaml"}, opts)
	if len(ps) != 2 || ps[0].place() != "b.yaml:2:22" || ps[1].place() != "c.yaml:1:20" {
		t.Errorf("problems %s", render(t, ps))
	}
	_, ps = Load(context.Background(), []string{"a.yaml", "none.yaml"}, opts)
	if len(ps) != 1 || ps[0].Code != CodeFile || ps[0].Message != "file does not exist" {
		t.Errorf("problems %s", render(t, ps))
	}
	if _, ps = Load(context.Background(), nil, opts); ps.Errors() != 1 {
		t.Errorf("no files: %v", ps)
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	if _, ps = Load(done, []string{"a.yaml"}, opts); ps.Errors() != 1 || !strings.Contains(ps[0].Message, "canceled") {
		t.Errorf("cancelled: %v", ps)
	}
}

func TestSet(t *testing.T) {
	env := func(o *Options) {
		o.Transport = "memory"
		o.Set = []string{"defaults.timeout=5m", "pipelines.p.stages.aeb.with.decel=7.5", "pipelines.p.stages.0.with.paths=[b.mf4, c.mf4]",
			"pipelines.p.stages.aeb.retry={attempts: 2}", "pipelines.p.description=two words: and more", "sinks.b="}
	}
	text := strings.Replace(base, "to: [a, b]", "to: [a]", 1)
	s, ps := load(t, text, env, func(o *Options) { o.Set = o.Set[:4] })
	if s == nil {
		t.Fatal(render(t, ps))
	}
	read, aeb := s.Pipelines[0].Stages[0], s.Pipelines[0].Stages[1]
	if aeb.Settings.Timeout != 5*time.Minute || aeb.Settings.Retry.Attempts != 2 || aeb.Config.(*aebConfig).Decel != 7.5 {
		t.Errorf("aeb = %+v %+v", aeb.Settings, aeb.Config)
	}
	if got := strings.Join(read.Config.(*mf4Config).Paths, " "); got != "b.mf4 c.mf4" {
		t.Errorf("paths = %s", got)
	}
}

func TestSetRefuses(t *testing.T) {
	for arg, want := range map[string]string{
		"nothing":                           `--set:1:1: want path=value, such as defaults.timeout=5m, not "nothing" [E-value]`,
		"defaults.timeout=fast":             `--set:1:18: "timeout" of defaults: want a duration such as 10ms, 1s, 5m or 30d; have "fast" [E-value]`,
		"defaults.timout=1s":                `--set:1:1: unknown field "timout" in defaults [E-field]`,
		"pipelines.p.stages.aebs.timeout=1": `--set:1:1: pipelines.p.stages: the list has no "aebs" (read, aeb) [E-ref]`,
		"pipelines.p.stages.aeb.with={a":    `--set:1:30: not YAML: could not find flow map content [E-yaml]`,
		"defaults={timeout: x}":             `--set:1:20: "timeout" of defaults: want a duration such as 10ms, 1s, 5m or 30d; have "x" [E-value]`,
		"defaults.dlq.max_age=${GONE}":      `GONE is not set [E-env]`,
	} {
		s, ps := load(t, base, func(o *Options) { o.Transport, o.Set = "memory", []string{arg} })
		if s != nil || len(ps) == 0 {
			t.Errorf("%s was taken", arg)
			continue
		}
		if got := ps[0].header(); got != want {
			t.Errorf("%s:\n got %s\nwant %s", arg, got, want)
		}
	}
}

func TestTransportOverride(t *testing.T) {
	set := func(o *Options) {
		o.Env = func(name string) (string, bool) { return "p$w", name == "NOT_SET" }
	}
	for arg, check := range map[string]func(Transport) bool{
		"":                       func(x Transport) bool { return x.NATS.URL[0] == "nats://old:4222" && x.NATS.Password == "p$w" },
		"memory":                 func(x Transport) bool { return x.Memory != nil && x.NATS == nil },
		"embedded":               func(x Transport) bool { return x.Embedded.Dir == "./.milepost" && x.Embedded.Sync.Always() },
		"nats://a:1,nats://b:2":  func(x Transport) bool { return len(x.NATS.URL) == 2 && x.NATS.User == "me" && x.NATS.Password == "p$w" },
		"kafka://a:9092,b:9092":  func(x Transport) bool { return len(x.Kafka.Brokers) == 2 && x.Kafka.Brokers[0] == "a:9092" },
		"tls://u:${x}@host:4222": func(x Transport) bool { return x.NATS.URL[0] == "tls://u:${x}@host:4222" },
	} {
		s, ps := load(t, base, set, func(o *Options) { o.Transport = arg })
		if s == nil {
			t.Errorf("%s: %s", arg, render(t, ps))
		} else if !check(s.Transport) {
			t.Errorf("%s: %+v", arg, s.Transport)
		}
	}
	_, ps := load(t, base, set, func(o *Options) { o.Transport = "embeded" })
	if len(ps) != 1 || ps[0].Meant != "embedded" || ps[0].place() != "--transport:1:1" {
		t.Errorf("embeded: %v", ps)
	}
}
