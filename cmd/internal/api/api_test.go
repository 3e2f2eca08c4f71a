package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/cmd/internal/api/guard"
	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/pipeline/view"
	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/memory"
)

// file is what the tests run: the real stages, one that refuses a recording as long as it is told to, and a pipeline that
// reads the other one's events.
const file = `
version: 1
transport: { memory: {} }
pipelines:
  drives:
    description: Samples through the function.
    stages:
      - { name: read, uses: reader/mf4, parallelism: 2, with: { paths: ["%[1]s/*.mf4"], bindings: %[2]s, speed: max, slice_max: 5s } }
      - { name: aeb, uses: process/aeb }
      - { name: kpi, uses: analysis/aeb-kpi }
      - { name: picky, uses: process/picky, from: read, on_error: skip }
  checks:
    from: drives/read
    stages:
      - { name: health, uses: analysis/signal-health }
`

const (
	token   = "the-token-of-this-test"
	refused = "sim_driver_brakes.mf4" // by process/picky
	cutOff  = "sim_cut_off.mf4"       // damaged
)

type nothing struct{}

// picky refuses the second batch of one recording while its bundle says so.
type picky struct {
	pipeline.Stateless
	refuse *atomic.Bool
}

func (p *picky) Process(_ context.Context, in pipeline.Batch, _ pipeline.Emitter) error {
	if in.Item == refused && in.Sequence == 2 && p.refuse.Load() {
		return pipeline.Permanent(fmt.Errorf("not to my taste"))
	}
	return nil
}

func pickyType(refuse *atomic.Bool) pipeline.StageType {
	return pipeline.ProcessorType[nothing]{Name: "process/picky", Summary: "refuses a recording", Accepts: []string{schemas.Signals}, Emits: []string{},
		Build: func(context.Context, nothing) (pipeline.Open[pipeline.Processor], error) {
			return func(context.Context, pipeline.Item) (pipeline.Processor, error) { return &picky{refuse: refuse}, nil }, nil
		}}
}

// bundle is a running engine with its API on a loopback port.
type bundle struct {
	t        *testing.T
	refuse   atomic.Bool
	engine   *engine.Engine
	managers map[string]*job.Manager
	store    *view.Store
	server   *Server
	client   *Client
	url      string
	stop     func() // ends everything and waits
}

// setup runs the samples through the pipelines and returns when every job is over.
func setup(t *testing.T) *bundle { return setupOver(t, memory.New()) }

func setupOver(t *testing.T, broker transport.Broker) *bundle {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b := &bundle{t: t, managers: map[string]*job.Manager{}}
	b.refuse.Store(true)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	sp := b.spec()
	var err error
	if b.store, err = view.Open(ctx, filepath.Join(t.TempDir(), view.FileName)); err != nil {
		t.Fatal(err)
	}
	if b.engine, err = engine.New(ctx, engine.Settings{Spec: sp, Broker: broker, Store: b.store, Log: log}); err != nil {
		t.Fatal(err)
	}
	for _, name := range b.engine.Pipelines() {
		if b.managers[name], err = b.engine.Jobs(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	b.server = New(Config{Spec: sp, Engine: b.engine, Managers: b.managers, Store: b.store, Broker: broker.Describe(), Version: "0.0-test", Token: token, Log: log})
	b.run(ctx, cancel)
	b.submit()
	b.settle()
	return b
}

func (b *bundle) spec() *spec.Spec {
	b.t.Helper()
	reg := stages.Standard()
	reg.Add(pickyType(&b.refuse))
	samples, err := filepath.Abs("../../../samples")
	if err != nil {
		b.t.Fatal(err)
	}
	folder := b.t.TempDir()
	for _, name := range []string{"sim_full_braking.mf4", refused} {
		data, err := os.ReadFile(filepath.Join(samples, name))
		if err != nil {
			b.t.Fatal(err)
		}
		write(b.t, filepath.Join(folder, name), data)
		if name != refused {
			write(b.t, filepath.Join(folder, cutOff), data[:len(data)*2/5])
		}
	}
	s, problems := spec.Load(b.t.Context(), []string{"p.yaml"}, spec.Options{Registry: reg, ReadFile: func(string) ([]byte, error) {
		return fmt.Appendf(nil, file, folder, filepath.Join(samples, "signals.yaml")), nil
	}})
	if s == nil {
		b.t.Fatal(problems.Err())
	}
	return s
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (b *bundle) run(ctx context.Context, cancel func()) {
	b.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	e := Endpoint{Address: l.Addr().String(), Token: token}
	b.client, b.url = NewClient(e), e.URL()
	works := []func(context.Context) error{b.engine.Run, func(ctx context.Context) error { return b.server.Serve(ctx, l) }}
	for _, m := range b.managers {
		works = append(works, m.Run)
	}
	var wg sync.WaitGroup
	for _, work := range works {
		wg.Go(func() {
			if err := work(ctx); err != nil {
				b.t.Error(err)
			}
		})
	}
	b.stop = sync.OnceFunc(func() { cancel(); wg.Wait(); b.store.Close() })
	b.t.Cleanup(b.stop)
}

// submit queues every recording in both pipelines.
func (b *bundle) submit() {
	b.t.Helper()
	ctx := b.t.Context()
	items, err := b.engine.List(ctx, "drives")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, it := range items {
		it.Labels = map[string]string{"kind": strings.Split(it.Name, "_")[1], "site": "bench"}
		source, err := json.Marshal(it)
		if err != nil {
			b.t.Fatal(err)
		}
		s := job.Submission{ID: b.engine.JobID("drives", it, 0), Item: it.Name, Source: source, Run: "r-1"}
		if _, err := b.managers["drives"].Submit(ctx, s); err != nil {
			b.t.Fatal(err)
		}
		s.ID, s.Upstream = b.engine.Derived("checks", s.ID), s.ID
		if _, err := b.managers["checks"].Submit(ctx, s); err != nil {
			b.t.Fatal(err)
		}
	}
}

// settle waits until no job of the first pipeline is queued or started, and the store knows that.
func (b *bundle) settle() {
	b.t.Helper()
	b.until("every job over", b.managers["drives"].Changed, func() bool {
		c := countJobs(b.managers["drives"].Jobs())
		return c.Total > 0 && c.Queued+c.Started == 0
	})
	want := countJobs(b.managers["drives"].Jobs())
	b.until("the store's table of jobs", b.store.Changed, func() bool {
		c, err := b.store.Counts(b.t.Context(), view.Filter{Pipeline: "drives"})
		return err == nil && c[schemas.JobFinished] == want.Finished && c[schemas.JobFailed] == want.Failed
	})
}

// until waits for a condition, looked at again at each change.
func (b *bundle) until(what string, changed func() <-chan struct{}, holds func() bool) {
	b.t.Helper()
	for limit := time.After(time.Minute); ; {
		next := changed()
		if holds() {
			return
		}
		select {
		case <-next:
		case <-limit:
			b.t.Fatalf("waited in vain for %s: %+v %+v", what, b.managers["drives"].Jobs(), b.engine.Status())
		}
	}
}

// request sends one and decodes the answer into v, or the refusal.
func (b *bundle) request(method, path, body string, header map[string]string, v any) (int, guard.Refusal) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for k, h := range header {
		r.Header.Set(k, h)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	var no guard.Refusal
	if res.StatusCode != http.StatusOK {
		if err := json.Unmarshal(data, &no); err != nil || no.Message == "" || no.Code == "" {
			b.t.Errorf("%s %s: %d without a refusal in JSON: %s", method, path, res.StatusCode, data)
		}
		return res.StatusCode, no
	}
	if v == nil {
		return res.StatusCode, no
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		b.t.Errorf("%s %s: %v in %.300s", method, path, err, data)
	}
	return res.StatusCode, no
}

func (b *bundle) get(path string, v any) {
	b.t.Helper()
	if status, no := b.request("GET", path, "", nil, v); status != http.StatusOK {
		b.t.Fatalf("GET %s: %d %v", path, status, no)
	}
}

var bearer = map[string]string{"Authorization": "Bearer " + token}
