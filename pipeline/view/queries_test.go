package view

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline/pipelinetest"
	"github.com/milepost-dev/milepost/schemas"
)

var noon = time.Date(2026, 10, 3, 12, 0, 0, 0, time.UTC)

// fleet stores five jobs, the second of which is an older version of the first's item.
func fleet(t *testing.T) *Store {
	t.Helper()
	s := openStore(t)
	for i, j := range []struct {
		item  string
		state schemas.JobState
		kpis  string
	}{
		{"b_drive.mf4", schemas.JobFinished, `{"min_ettc":0.9,"min_ettc_t_ns":9300000000,"min_ttc":1.5,"max_areq":4,"events":2,"verdicts":{"unconfirmed":1},"ttc_hist":[1,0,0,0,0,0,0,0,0,2],"ttc_none":7}`},
		{"b_drive.mf4", schemas.JobFinished, `{"min_ettc":0.1,"ttc_hist":[9,9,9,9,9,9,9,9,9,9]}`},
		{"a_drive.mf4", schemas.JobFinished, `{"min_ettc":0.9,"min_ttc":0.7,"events":0,"ttc_hist":[0,1,0,0,0,0,0,0,0,1],"ttc_none":1}`},
		{"100%_sure.mf4", schemas.JobFailed, ""},
		{"c_drive.mf4", schemas.JobFinished, `{"min_ettc":null,"min_ttc":null,"ttc_hist":[0,0,0,0,0,0,0,0,0,0]}`},
	} {
		queued := noon.Add(time.Duration(i) * time.Second)
		if i == 1 {
			queued = noon.Add(-time.Hour)
		}
		job := Job{Job: schemas.JobID(fmt.Sprint("j-", i)), Pipeline: "aeb-replay", Item: j.item, Run: "run-1", State: j.state, Queued: queued,
			Labels: map[string]string{"release": fmt.Sprint(2026 + i%2)}}
		must(t, s.PutJobs(t.Context(), job))
		if j.kpis == "" {
			continue
		}
		texts := []string{"[ego]\nt v\n0 1\n7.5 2", `@aeb.activation.v1
			{"t_ns":4000000000,"from":0,"stage":1,"kind":"warn"}
			{"t_ns":4500000000,"from":1,"stage":2,"kind":"partial"}
			{"t_ns":5000000000,"from":2,"stage":0,"kind":"end"}`, `@aeb.kpi.v1
			{"log":"` + j.item + `","kpis":` + j.kpis + "}"}
		batches := pipelinetest.Batches(t, schemas.Signals, texts...)
		store(t, s, schemas.ChainID{Job: job.Job, Stage: "aeb"}, batches, 3)
	}
	return s
}

func items(list []Recording) (names []string) {
	for _, r := range list {
		names = append(names, r.Item+" "+string(r.Job.Job))
	}
	return names
}

// newest are the last jobs of the fleet's items.
var newest = []schemas.JobID{"j-0", "j-2", "j-3", "j-4"}

func TestRecordings(t *testing.T) {
	s := fleet(t)
	for _, c := range []struct {
		filter Filter
		sort   Sort
		page   Page
		want   string
		total  int
	}{
		{Filter{}, ByQueued, Page{}, "[b_drive.mf4 j-1 b_drive.mf4 j-0 a_drive.mf4 j-2 100%_sure.mf4 j-3 c_drive.mf4 j-4]", 5},
		{Filter{Jobs: newest}, ByItem, Page{}, "[100%_sure.mf4 j-3 a_drive.mf4 j-2 b_drive.mf4 j-0 c_drive.mf4 j-4]", 4},
		{Filter{Jobs: newest}, ByMinTTC, Page{Limit: 2}, "[a_drive.mf4 j-2 b_drive.mf4 j-0]", 4},
		{Filter{Jobs: newest}, ByItem, Page{Limit: 2, Offset: 3}, "[c_drive.mf4 j-4]", 4},
		{Filter{Search: "0%_S"}, ByQueued, Page{}, "[100%_sure.mf4 j-3]", 1},
		{Filter{Search: "x"}, ByQueued, Page{}, "[]", 0},
		{Filter{Jobs: []schemas.JobID{}}, ByQueued, Page{}, "[]", 0},
		{Filter{States: []schemas.JobState{schemas.JobFailed, schemas.JobQueued}}, ByState, Page{}, "[100%_sure.mf4 j-3]", 1},
		{Filter{Labels: map[string]string{"release": "2027"}, Run: "run-1", Pipeline: "aeb-replay"}, ByDuration, Page{}, "[b_drive.mf4 j-1 100%_sure.mf4 j-3]", 2},
		{Filter{Run: "run-2"}, ByActivations, Page{}, "[]", 0},
	} {
		list, total, err := s.Recordings(t.Context(), c.filter, c.sort, c.page)
		if got := fmt.Sprint(items(list)); err != nil || got != c.want || total != c.total {
			t.Errorf("%+v: %s of %d (%v), want %s of %d", c, got, total, err, c.want, c.total)
		}
	}
	for _, sort := range Sorts() {
		if list, _, err := s.Recordings(t.Context(), Filter{}, sort, Page{}); err != nil || len(list) != 5 {
			t.Errorf("order %q: %d, %v", sort, len(list), err)
		}
	}
	if _, _, err := s.Recordings(t.Context(), Filter{}, "j.item; DROP TABLE jobs", Page{}); err == nil {
		t.Error("an order of its own was taken")
	}
}

func TestRecording(t *testing.T) {
	s := fleet(t)
	r, err := s.Recording(t.Context(), "j-0")
	must(t, err)
	if r.Item != "b_drive.mf4" || r.DurationS != 7.5 || r.Activations != 1 || r.Progress != 1 || !r.Start.Equal(pipelinetest.Start) || len(r.KPIs) == 0 || r.Health != nil {
		t.Errorf("%+v", r)
	}
	if _, err := s.Recording(t.Context(), "j-9"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	kpi, err := s.Last(t.Context(), "j-2", schemas.AEBKPI)
	if err != nil || len(kpi) == 0 {
		t.Error(string(kpi), err)
	}
	if _, err := s.Last(t.Context(), "j-3", schemas.AEBKPI); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestDocumentsOfAWindow(t *testing.T) {
	s := fleet(t)
	for _, c := range []struct {
		from, to time.Duration
		want     string
	}{{0, 0, "[4 4.5 5]"}, {4 * time.Second, 5 * time.Second, "[4 4.5]"}, {4100 * time.Millisecond, 0, "[4.5 5]"}} {
		f := DocumentFilter{Job: "j-0", Stage: "aeb", Types: []string{schemas.AEBActivation}, From: c.from, To: c.to}
		docs, err := s.Documents(t.Context(), f, Page{})
		must(t, err)
		var times []float64
		for _, d := range docs {
			times = append(times, d.TimeS)
		}
		if fmt.Sprint(times) != c.want || docs[0].Item != "drive.mf4" || docs[0].Sequence != 2 {
			t.Errorf("%v to %v: %v, want %s", c.from, c.to, docs, c.want)
		}
	}
}

func TestHistogramAndWorst(t *testing.T) {
	s := fleet(t)
	h, err := s.Histogram(t.Context(), Filter{Jobs: newest}, "ttc_hist")
	if err != nil || fmt.Sprint(h.Counts) != "[1 1 0 0 0 0 0 0 0 3]" || h.None != 8 || h.Recordings != 3 || len(h.Edges) != 10 {
		t.Errorf("%+v (%v)", h, err)
	}
	if _, err := s.Histogram(t.Context(), Filter{}, "kpis"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	worst, err := s.WorstRecordings(t.Context(), Filter{Jobs: newest}, 10)
	must(t, err)
	if len(worst) != 2 || worst[0].Item != "a_drive.mf4" || worst[1].Job != "j-0" || worst[1].Unconfirmed != 1 || *worst[1].MinETTCAt != 9.3 || worst[0].MaxAReq != nil {
		t.Errorf("%+v", worst)
	}
}

func TestJobs(t *testing.T) {
	s := fleet(t)
	must(t, s.PutProgress(t.Context(), map[schemas.JobID]float64{"j-3": 0.31, "j-unknown": 1}))
	must(t, s.PutProgress(t.Context(), map[schemas.JobID]float64{"j-3": 0.2}))
	ended := noon.Add(time.Minute)
	must(t, s.PutJobs(t.Context(), Job{Job: "j-3", Pipeline: "aeb-replay", Item: "100%_sure.mf4", State: schemas.JobFailed, Queued: noon, Ended: &ended, Error: "corrupt MF4 at offset 0x1f4c10"}))
	j, err := s.Job(t.Context(), "j-3")
	if err != nil || j.Progress != 0.31 || !j.Ended.Equal(ended) || j.Error == "" || j.Started != nil {
		t.Errorf("%+v (%v)", j, err)
	}
	jobs, total, err := s.Jobs(t.Context(), Filter{Pipeline: "aeb-replay"}, Page{Limit: 1, Offset: 1})
	if err != nil || total != 5 || len(jobs) != 1 || jobs[0].Job != "j-3" && jobs[0].Job != "j-0" {
		t.Errorf("%+v of %d (%v)", jobs, total, err)
	}
	counts, err := s.Counts(t.Context(), Filter{})
	if err != nil || counts[schemas.JobFinished] != 4 || counts[schemas.JobFailed] != 1 || len(counts) != 2 {
		t.Error(counts, err)
	}
}

func TestFleets(t *testing.T) {
	s := openStore(t)
	for _, run := range []string{"run-2", "run-1", "run-1"} {
		b := pipelinetest.Batches(t, schemas.AEBFleet, `{"run":"`+run+`"}`)[0]
		b.Pipeline, b.Stage = "p", "kpi"
		must(t, s.WriteFleet(t.Context(), run, b))
	}
	for _, stage := range [][2]string{{"q", "kpi"}, {"p", "strict"}} { // results of other stages do not replace it
		b := pipelinetest.Batches(t, schemas.AEBFleet, `{}`)[0]
		b.Pipeline, b.Stage = stage[0], stage[1]
		must(t, s.WriteFleet(t.Context(), "run-1", b))
	}
	all, err := s.Fleets(t.Context(), "")
	must(t, err)
	one, err := s.Fleets(t.Context(), "run-2")
	must(t, err)
	if len(all) != 4 || all[0].Run != "run-1" || string(all[0].Doc) != `{"run":"run-1"}` || all[1].Stage != "strict" || all[2].Pipeline != "q" || len(one) != 1 || string(one[0].Doc) != `{"run":"run-2"}` || one[0].Type != schemas.AEBFleet {
		t.Error(all, one)
	}
}

func TestRunsAreKnownToTheNextProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), FileName)
	s, err := Open(t.Context(), file)
	must(t, err)
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for i, r := range []Run{{Pipeline: "p", Name: "r-1", Items: []string{"a"}}, {Pipeline: "p", Name: "r-2", Items: []string{"a", "b"}}, {Pipeline: "q", Name: "r-2"}, {Pipeline: "p", Name: "r-1", Items: []string{"c"}}} {
		r.At = at.Add(time.Duration(i) * time.Second)
		must(t, s.PutRun(t.Context(), r))
	}
	want := fmt.Sprint(s.Runs("p"), s.Runs("q"))
	must(t, s.Close())
	s, err = Open(t.Context(), file)
	must(t, err)
	defer s.Close()
	if got := fmt.Sprint(s.Runs("p"), s.Runs("q")); got != want || len(s.Runs("p")) != 2 || s.Runs("p")[0].Name != "r-1" || s.Runs("p")[0].Items[0] != "c" {
		t.Errorf("%s, after opening it again %s", want, got)
	}
}
