package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/milepost-dev/milepost/cmd"
	"github.com/milepost-dev/milepost/stages"
)

// TestMirrorAFinishedRun: what is finished here is finished there, and not done again.
func TestMirrorAFinishedRun(t *testing.T) {
	l := setup(t)
	l.run(0, "run", "--exit", "--listen", "127.0.0.1:0")
	url := serve(t, server.Options{JetStream: true}).ClientURL()
	var copied []struct {
		Pipeline, Stage          string
		Chains, Records, Present int
	}
	if err := json.Unmarshal([]byte(l.run(0, "mirror", "--to", url, "-o", "json")), &copied); err != nil || len(copied) == 0 {
		t.Fatalf("%d logs, %v", len(copied), err)
	}
	records := 0
	for _, c := range copied {
		records += c.Records
	}
	if records == 0 {
		t.Errorf("nothing was copied: %+v", copied)
	}
	l.run(0, "run", "--exit", "--listen", "127.0.0.1:0", "--transport", url, "--state", l.path("state"), "--progress", "json")
	if strings.Contains(l.stderr.String(), `{"appends":`) {
		t.Errorf("what was finished was done again:\n%s", l.stderr.String())
	}
	var jobs []struct{ State string }
	if err := json.Unmarshal([]byte(l.run(0, "jobs", "ls", "-o", "json", "--transport", url, "--state", l.path("state"))), &jobs); err != nil || len(jobs) != 3 || jobs[0].State != "finished" {
		t.Errorf("jobs %v, %v", jobs, err)
	}
}

// TestMirrorARunInTheMiddle: what was begun here is ended there, with the results of a run that nobody moved.
func TestMirrorARunInTheMiddle(t *testing.T) {
	still := setup(t)
	still.run(0, "run", "--exit", "--listen", "127.0.0.1:0")
	want := still.files()
	l := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	code := cmd.Run(ctx, stages.Standard(), []string{"run", "--exit", "--listen", "127.0.0.1:0", "--progress", "json", "-f", l.path("pipelines.yaml")},
		strings.NewReader(""), new(bytes.Buffer), writerFunc(func(p []byte) (int, error) {
			if bytes.Contains(p, []byte("appends")) {
				cancel() // with the first record stored, so in the middle
			}
			return len(p), nil
		}))
	if code != 130 {
		t.Fatalf("exit %d, want 130", code)
	}
	url := serve(t, server.Options{JetStream: true}).ClientURL()
	l.wants(l.run(0, "mirror", "--to", url), "aeb/job", "aeb/read", "RECORDS")
	l.wants(l.run(0, "mirror", "--to", url), "aeb/job") // again: nothing to do
	l.run(0, "run", "--exit", "--listen", "127.0.0.1:0", "--transport", url, "--state", l.path("state"))
	got := l.files()
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s differs", name)
		}
	}
	if len(want) < 4 || len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
	l.run(1, "mirror", "--to", url) // they have worked there
	l.wants(l.stderr.String(), "somebody has worked there")
}

func TestMirrorRefuses(t *testing.T) {
	l := setup(t)
	l.run(2, "mirror")
	l.wants(l.stderr.String(), "where to?", "--to")
	l.run(2, "mirror", "--to", "embedded")
	l.wants(l.stderr.String(), "the same", "--to-state")
	l.run(2, "mirror", "nosuch", "--to", "nats://127.0.0.1:1")
	l.run(3, "mirror", "--to", "nats://127.0.0.1:1")
	l.wants(l.stderr.String(), "127.0.0.1:1")
}

func TestRender(t *testing.T) {
	l := setup(t)
	l.run(2, "render", "k8s")
	l.wants(l.stderr.String(), "inside one process")
	l.write("prod.yaml", "transport: { nats: { url: \"nats://nats.example:4222\", replicas: 3 } }\n")
	text := l.with(t.Context(), 0, "render", "k8s", "-f", l.path("pipelines.yaml"), "-f", l.path("prod.yaml"), "--autoscale", "keda", "--mount", "recordings:/drives:ro", "--image", "here/milepost:1")
	l.wants(text, "kind: ScaledObject", "natsServerMonitoringEndpoint: nats.example:8222", "stream: MP_aeb_job", "-kpi\n", "claimName: recordings", "here/milepost:1", "prod.yaml: ")
	l.wants(l.with(t.Context(), 0, "render", "compose", "-f", l.path("pipelines.yaml"), "-f", l.path("prod.yaml")), "aeb-kpi:", "- aeb/kpi")
	l.with(t.Context(), 2, "render", "k8s", "-f", l.path("pipelines.yaml"), "-f", l.path("prod.yaml"), "--mount", "nowhere")
	l.with(t.Context(), 2, "render", "k8s", "-f", l.path("pipelines.yaml"), "--set", "transport={nats: {url: nats://x}}")
	l.wants(l.stderr.String(), "neither --set")
	if _, err := os.Stat(l.path("state")); err == nil {
		t.Error("render made a state directory")
	}
}

// TestScaledByTheConsumersThereAre: the stream and the consumers that the scalers ask about are those of a run.
func TestScaledByTheConsumersThereAre(t *testing.T) {
	l := setup(t)
	s := serve(t, server.Options{JetStream: true})
	l.write("prod.yaml", "transport: { nats: { url: \""+s.ClientURL()+"\" } }\n")
	files := []string{"-f", l.path("pipelines.yaml"), "-f", l.path("prod.yaml")}
	text := l.with(t.Context(), 0, append([]string{"render", "k8s", "--autoscale", "keda"}, files...)...)
	l.with(t.Context(), 0, append([]string{"run", "--exit", "--listen", "127.0.0.1:0", "--state", l.path("state")}, files...)...)
	jsz, err := s.Jsz(&server.JSzOptions{Streams: true, Consumer: true})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, a := range jsz.AccountDetails {
		for _, stream := range a.Streams {
			for _, c := range stream.Consumer {
				if strings.Contains(text, "stream: "+stream.Name+"\n") && strings.Contains(text, "consumer: "+c.Name+"\n") {
					found++
				}
			}
		}
	}
	if want := strings.Count(text, "kind: ScaledObject"); found != want || found == 0 {
		t.Errorf("%d of %d consumers are there", found, want)
	}
}
