package api

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/pipeline/view"
	"github.com/milepost-dev/milepost/schemas"
)

// TestReading asks everything that can be read of one finished run.
func TestReading(t *testing.T) {
	b := setup(t)
	t.Run("status and pipelines", b.testPipelines)
	t.Run("jobs by filter", b.testJobs)
	t.Run("recordings by filter", b.testRecordings)
	t.Run("one recording", b.testRecording)
	t.Run("its timeline", b.testTimeline)
	t.Run("its documents", b.testDocuments)
	t.Run("the client", b.testClient)
	t.Run("fleet figures", b.testKPIs)
	t.Run("dead letters by filter", b.testLetters)
	t.Run("one dead letter", b.testLetter)
	t.Run("refusals", b.testRefusals)
	t.Run("pages and assets", b.testPages)
	t.Run("metrics", b.testMetrics)
}

func (b *bundle) testPipelines(t *testing.T) {
	var st Status
	b.get("/api/v1/status", &st)
	if st.Version != "0.0-test" || st.Transport.Kind != "memory" || len(st.Pipelines) != 2 || st.DeadLetters != 1 {
		t.Errorf("%+v", st)
	}
	list, err := b.client.Pipelines(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		for _, n := range p.Nodes {
			m := b.engine.Meter(n.Pipeline, n.Stage)
			if n.Out != m.Out.Load() || n.In != m.In.Load() && n.Errors == 0 || n.Errors != m.Errors.Load() {
				t.Errorf("%s/%s: %+v, the meter has %d in, %d out", n.Pipeline, n.Stage, n, m.In.Load(), m.Out.Load())
			}
		}
	}
	var one Pipeline
	b.get("/api/v1/pipelines/drives", &one)
	if one.State != "failed" || one.Jobs.Failed != 1 || one.Jobs.Finished != 2 || one.Jobs.Total != 3 || one.Events == 0 || one.DeadLetters != 1 || one.Bytes == 0 {
		t.Errorf("%+v", one)
	}
	b.get("/api/v1/pipelines/checks", &one)
	if !slices.Equal(one.From, []string{"drives/read"}) || one.Nodes[0].Inputs[0] != "drives/read" {
		t.Errorf("%+v", one)
	}
	var h History
	b.get("/api/v1/pipelines/drives/stages/aeb/history", &h)
	if h.Stage != "aeb" || len(h.At) != len(h.Lag) || len(h.At) != len(h.P95) {
		t.Errorf("%+v", h)
	}
}

func (b *bundle) testJobs(t *testing.T) {
	for query, want := range map[string]int{"": 6, "?pipeline=drives": 3, "?pipeline=drives&status=failed": 1, "?pipeline=drives&status=failed,finished": 3,
		"?search=FULL": 2, "?search=corrupt": 1, "?status=expired": 0, "?search=no-such-word": 0} {
		var l JobList
		b.get("/api/v1/jobs"+query, &l)
		if l.Matching != want || len(l.Jobs) != want || l.Total != 6 {
			t.Errorf("%q: %d of %d match, want %d", query, l.Matching, l.Total, want)
		}
	}
	var first, second JobList
	b.get("/api/v1/jobs?limit=4", &first)
	b.get("/api/v1/jobs?limit=4&offset=4", &second)
	if len(first.Jobs) != 4 || len(second.Jobs) != 2 || second.Matching != 6 || second.Jobs[0].ID == first.Jobs[3].ID {
		t.Errorf("pages of %d and %d", len(first.Jobs), len(second.Jobs))
	}
	l, err := b.client.Jobs(t.Context(), JobFilter{Pipeline: "drives", Status: "failed"})
	if err != nil || len(l.Jobs) != 1 || l.Resumable != 1 || l.Counts["finished"] != 2 {
		t.Fatalf("%v: %+v", err, l)
	}
	j, err := b.client.Job(t.Context(), string(l.Jobs[0].ID)[:7])
	if err != nil || j.ID != l.Jobs[0].ID || j.Recording != cutOff || j.Stage != "read" || !strings.Contains(j.Error, "corrupt") || !j.Resumable {
		t.Errorf("%v: %+v", err, j)
	}
	if _, err := b.client.Job(t.Context(), "j-none"); err == nil || !strings.Contains(err.Error(), "E-not-found") {
		t.Errorf("an unknown job: %v", err)
	}
}

func (b *bundle) testRecordings(t *testing.T) {
	const path = "/api/v1/pipelines/drives/recordings"
	for query, want := range map[string]int{"": 3, "?search=braking": 1, "?status=failed": 1, "?label=kind=full": 1, "?label=kind=full&label=site=bench": 1,
		"?label=kind=full&label=site=elsewhere": 0, "?status=finished&label=site=bench": 2, "?limit=2": 2} {
		var l RecordingList
		b.get(path+query, &l)
		if len(l.Recordings) != want || l.Total != 3 || len(l.Labels["kind"]) != 3 {
			t.Errorf("%q: %d of %d, labels %v, want %d", query, len(l.Recordings), l.Total, l.Labels, want)
		}
	}
	var l RecordingList
	b.get(path+"?sort=min_ttc", &l)
	r := l.Recordings[0]
	if r.Name != "sim_full_braking.mf4" || r.Events != 1 || r.MinTTC == nil || *r.MinTTC > 1 || r.Brakings == nil || *r.Brakings != 1 || r.Bytes == 0 ||
		r.DurationS == nil || *r.DurationS < 20 || *r.Progress != 1 || r.Labels["kind"] != "full" {
		t.Errorf("%+v", r)
	}
}

func (b *bundle) testRecording(t *testing.T) {
	var d RecordingDetail
	b.get("/api/v1/pipelines/drives/recordings/sim_full_braking.mf4", &d)
	if len(d.Jobs) != 2 || d.Jobs[0].Pipeline != "drives" || d.Jobs[1].Pipeline != "checks" || d.Jobs[1].Home != "drives" {
		t.Errorf("jobs %+v", d.Jobs)
	}
	if !present(d.KPIs) || !strings.HasPrefix(string(d.AEBEvents), "[{") || len(d.Activations) < 2 || !slices.ContainsFunc(d.Signals, func(s view.Signal) bool { return s.Ref == "read/ego.v" }) {
		t.Errorf("kpis %s, events %s, %d activations, signals %v", d.KPIs, d.AEBEvents, len(d.Activations), d.Signals)
	}
	b.until("the summary of the other pipeline", b.store.Changed, func() bool {
		b.get("/api/v1/pipelines/drives/recordings/sim_full_braking.mf4", &d)
		return present(d.Health)
	})
	b.get("/api/v1/pipelines/drives/recordings/"+cutOff, &d)
	if d.State != schemas.JobFailed || len(d.Letters) != 1 || d.Letters[0].State != LetterOpen || !strings.Contains(d.Error, "corrupt") {
		t.Errorf("%+v", d)
	}
}

func (b *bundle) testTimeline(t *testing.T) {
	const path = "/api/v1/pipelines/drives/recordings/sim_full_braking.mf4/timeline"
	var line view.Timeline
	b.get(path+"?signal=ego.v&signal=tick.ttc&px=50", &line)
	if len(line.T) > 50 || len(line.T) < 20 || len(line.Series) != 2 || line.Series[0].Unit != "m/s" || line.ToS < 20 {
		t.Errorf("%d columns of %d series to %v s", len(line.T), len(line.Series), line.ToS)
	}
	for i := range line.T {
		if s := line.Series[0]; s.Min[i] > s.Mean[i]+1e-4 || s.Mean[i] > s.Max[i]+1e-4 {
			t.Errorf("column %d: %v, %v, %v", i, s.Min[i], s.Mean[i], s.Max[i])
		}
	}
	b.get(path+"?signal=ego.v&from=5&to=7.5&px=1000", &line)
	if line.FromS != 5 || line.ToS != 7.5 || line.T[0] != 5 {
		t.Errorf("the window is %v to %v", line.FromS, line.ToS)
	}
}

// testClient asks by the client what the others ask by address.
func (b *bundle) testClient(t *testing.T) {
	ctx := t.Context()
	list, err := b.client.Recordings(ctx, "drives", url.Values{"search": {"full"}})
	if err != nil || len(list.Recordings) != 1 || list.Total != 3 {
		t.Errorf("%v: %+v", err, list)
	}
	d, err := b.client.Recording(ctx, "drives", list.Recordings[0].Name)
	if err != nil || d.Job != list.Recordings[0].Job {
		t.Errorf("%v: %+v", err, d)
	}
	line, err := b.client.Timeline(ctx, "drives", d.Name, []string{"ego.v"}, 2, 4, 100)
	if err != nil || line.FromS != 2 || line.ToS != 4 || len(line.Series) != 1 {
		t.Errorf("%v: %+v", err, line)
	}
	if k, err := b.client.KPIs(ctx, "drives", ""); err != nil || k.Run != "r-1" {
		t.Errorf("%v: %+v", err, k)
	}
	if h, err := b.client.History(ctx, "drives", "kpi"); err != nil || h.Stage != "kpi" {
		t.Errorf("%v: %+v", err, h)
	}
	if st, err := b.client.Status(ctx); err != nil || len(st.Pipelines) != 2 {
		t.Errorf("%v: %+v", err, st)
	}
	if _, err := b.client.CancelOperation(ctx, "op-9"); err == nil {
		t.Error("an operation that never was is stopped")
	}
}

func (b *bundle) testDocuments(t *testing.T) {
	const path = "/api/v1/pipelines/drives/recordings/sim_full_braking.mf4/documents?type=" + schemas.AEBActivation
	var all, some struct {
		Offset, Limit int
		Documents     []view.Document
	}
	b.get(path, &all)
	if len(all.Documents) < 2 {
		t.Fatalf("%+v", all)
	}
	at := all.Documents[1].TimeS
	b.get(path+fmt.Sprintf("&from=%v", at-0.001), &some)
	if len(some.Documents) >= len(all.Documents) || some.Documents[0].TimeS != at {
		t.Errorf("%d of %d documents from %v s on", len(some.Documents), len(all.Documents), at)
	}
}

func (b *bundle) testKPIs(t *testing.T) {
	var k KPIs
	b.get("/api/v1/pipelines/drives/kpis", &k)
	if k.Run != "r-1" || !k.Final || k.Jobs.Total != 3 || len(k.Histograms) != 2 || k.Histograms[0].Recordings != 2 {
		t.Errorf("%+v", k)
	}
	if len(k.Worst) == 0 || k.Worst[0].Item != "sim_full_braking.mf4" || k.Worst[0].MinETTCAt == nil {
		t.Errorf("worst %+v", k.Worst)
	}
}

func (b *bundle) testLetters(t *testing.T) {
	for query, want := range map[string]int{"": 2, "?state=open": 1, "?state=skipped": 1, "?state=all": 2, "?state=redriven": 0, "?stage=picky": 1, "?error=TASTE": 1,
		"?recording=cut": 1, "?older_than=1h": 0, "?newer_than=1h": 2, "?newer_than=30d&pipeline=drives": 2, "?pipeline=checks": 0, "?stage=read&error=taste": 0} {
		var l LetterList
		b.get("/api/v1/dlq"+query, &l)
		if l.Matching != want || len(l.Letters) != want || l.Total != 2 || l.Redrivable != want {
			t.Errorf("%q: %d of %d match, want %d", query, l.Matching, l.Total, want)
		}
	}
	l, err := b.client.Letters(t.Context(), LetterFilter{Stage: "picky"})
	if err != nil || len(l.Letters) != 1 || l.Letters[0].Recording != refused || l.Letters[0].Decision != schemas.Skip || l.Letters[0].Error != "not to my taste" {
		t.Errorf("%v: %+v", err, l)
	}
}

func (b *bundle) testLetter(t *testing.T) {
	l, err := b.client.Letters(t.Context(), LetterFilter{Stage: "picky"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := b.client.Letter(t.Context(), "drives", l.Letters[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if d.Damage != "" || len(d.Tables) == 0 || d.Tables[0].Rows == 0 || d.Tables[0].Columns[0] != "t" || d.AtS == nil || !strings.HasPrefix(d.Trace, "00-") {
		t.Errorf("%+v", d)
	}
}

func (b *bundle) testRefusals(t *testing.T) {
	for path, want := range map[string]struct {
		status int
		code   string
	}{
		"/api/v1/nothing":                              {404, "E-not-found"},
		"/api/v1/pipelines/none":                       {404, "E-pipeline"},
		"/api/v1/pipelines/none/recordings":            {404, "E-pipeline"},
		"/api/v1/pipelines/none/kpis":                  {404, "E-pipeline"},
		"/api/v1/pipelines/drives/stages/none/history": {404, "E-not-found"},
		"/api/v1/pipelines/drives/recordings/none.mf4": {404, "E-not-found"},
		"/api/v1/pipelines/drives/recordings/sim_full_braking.mf4/timeline?signal=none":  {404, "E-not-found"},
		"/api/v1/pipelines/drives/recordings/sim_full_braking.mf4/timeline?signal=valid": {400, "E-param"},
		"/api/v1/pipelines/drives/recordings/sim_full_braking.mf4/timeline?px=0":         {400, "E-param"},
		"/api/v1/pipelines/drives/recordings/sim_full_braking.mf4/timeline?from=x":       {400, "E-param"},
		"/api/v1/pipelines/drives/recordings/sim_full_braking.mf4/timeline?from=5&to=4":  {400, "E-param"},
		"/api/v1/pipelines/drives/recordings?sort=colour":                                {400, "E-param"},
		"/api/v1/pipelines/drives/recordings?label=colour":                               {400, "E-param"},
		"/api/v1/jobs?status=happy":   {400, "E-param"},
		"/api/v1/jobs?pipeline=none":  {404, "E-pipeline"},
		"/api/v1/jobs?limit=0":        {400, "E-param"},
		"/api/v1/jobs?offset=-1":      {400, "E-param"},
		"/api/v1/jobs/j-none":         {404, "E-not-found"},
		"/api/v1/dlq?older_than=long": {400, "E-param"},
		"/api/v1/dlq?state=lost":      {400, "E-param"},
		"/api/v1/dlq/drives/d-none-1": {404, "E-not-found"},
		"/api/v1/operations/op-9":     {404, "E-not-found"},
		"/api/v1/events?page=none":    {400, "E-param"},
	} {
		if status, no := b.request("GET", path, "", nil, nil); status != want.status || no.Code != want.code {
			t.Errorf("%s: %d %+v, want %d %s", path, status, no, want.status, want.code)
		}
	}
	const drive = "/api/v1/pipelines/drives/recordings/sim_full_braking.mf4"
	for path, says := range map[string]string{
		drive + "/timeline?signal=ego.vv":            `did you mean "ego.v"?`,
		drive + "/timeline?signal=none":              "there are aeb/tick.a_e, ",
		drive + "/timeline?signals=ego.v":            `no parameter "signals": it takes from, px, signal, to; did you mean "signal"?`,
		drive + "/timeline?from=1&to=0":              `to="0" is not after from=1`,
		drive + "/documents?from=1&to=0":             `to="0" is not after from=1`,
		drive + "?stage=read":                        `no parameter "stage": it takes none`,
		"/api/v1/pipelines/drives/kpis?pipeline=x":   `no parameter "pipeline": it takes run`,
		"/api/v1/jobs?statsu=failed":                 `it takes limit, offset, pipeline, search, status; did you mean "status"?`,
		"/api/v1/jobs?status=happy":                  `status="happy" is not one of deferred, scheduled, queued, started, finished, failed, cancelled, expired, left-behind`,
		"/api/v1/pipelines/drives/recordings?sort=x": `sort="x" is not one of item, state, `,
		"/api/v1/events?page=none":                   "is not one of dlq, jobs, kpis, pipelines, recording, recordings, status",
	} {
		if status, no := b.request("GET", path, "", nil, nil); status/100 != 4 || !strings.Contains(no.Message, says) {
			t.Errorf("%s: %d %q, want %q", path, status, no.Message, says)
		}
	}
	if status, no := b.request("POST", "/api/v1/jobs/cancel?status=failed", "{}", bearer, nil); status != 400 || no.Code != "E-param" {
		t.Errorf("a command with a parameter, which it would pass over: %d %+v", status, no)
	}
	if status, _ := b.request("GET", drive+"/timeline?signal=ego.v&from=0&to=0", "", nil, nil); status != 200 {
		t.Errorf("all of a recording: %d", status)
	}
	if status, no := b.request("POST", "/api/v1/status", "", bearer, nil); status != 404 || !strings.Contains(no.Message, "POST") {
		t.Errorf("a command to what can only be read: %d %+v", status, no)
	}
}

func (b *bundle) testPages(t *testing.T) {
	for path, want := range map[string]string{"/": "text/html", "/p/drives": "text/html", "/p/drives/r/a%2Fb.mf4": "text/html", "/dlq?stage=read": "text/html",
		"/assets/js/app.js": "text/javascript", "/assets/app.css": "text/css", "/assets/vendor/uPlot.esm.js": "text/javascript", "/assets/icon.svg": "image/svg+xml"} {
		res, err := http.Get(b.url + path)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), want) || len(data) == 0 || res.Header.Get("ETag") == "" {
			t.Errorf("%s: %s %v, %d bytes", path, res.Status, res.Header, len(data))
		}
	}
	for _, path := range []string{"/assets/none.js", "/assets/../api.go", "/assets/%2e%2e/dashboard.go"} {
		res, err := http.Get(b.url + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode == 200 && !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

func (b *bundle) testMetrics(t *testing.T) {
	for path, want := range map[string]string{"/healthz": `"ok"`, "/readyz": `"ready"`, "/metrics": `milepost_jobs{pipeline="drives",state="finished"} 2`} {
		res, err := http.Get(b.url + path)
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 200 || !strings.Contains(string(data), want) {
			t.Errorf("%s: %s, no %s", path, res.Status, want)
		}
		if path == "/metrics" && !strings.Contains(string(data), `milepost_stage_events_out_total{pipeline="drives",stage="read"}`) {
			t.Errorf("no stage metrics in\n%.2000s", data)
		}
	}
}
