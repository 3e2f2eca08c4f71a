package api

import (
	"context"
	"slices"

	"github.com/milepost-dev/milepost/pipeline/job"
	"github.com/milepost-dev/milepost/pipeline/view"
)

// KPIs are the results of a pipeline's recordings together.
type KPIs struct {
	Pipeline   string           `json:"pipeline"`
	Run        string           `json:"run"`
	Runs       []string         `json:"runs"`       // newest first
	Jobs       JobCounts        `json:"jobs"`       // of the run
	Final      bool             `json:"final"`      // every job of the run has ended
	Fleets     []view.Fleet     `json:"fleets"`     // folds over all results, as the stages define them
	Histograms []view.Histogram `json:"histograms"` // they grow while the run goes on
	Worst      []view.Worst     `json:"worst"`
}

const worstRecordings = 20

// kpis takes ?run=; without, the last run.
func (s *Server) kpis(ctx context.Context, q query) (any, error) {
	st, err := s.store()
	if err != nil {
		return nil, err
	}
	name := q.Get("pipeline")
	if s.c.Managers[name] == nil {
		return nil, s.noPipeline(name)
	}
	k := KPIs{Pipeline: name, Run: q.Get("run"), Runs: []string{}, Histograms: []view.Histogram{}, Worst: []view.Worst{}}
	k.Runs = s.runNames(name)
	if k.Run == "" && len(k.Runs) > 0 {
		k.Run = k.Runs[0]
	}
	k.Jobs = countJobs(s.jobsIn(name, k.Run))
	k.Final = k.Jobs.Total > 0 && k.Jobs.Queued+k.Jobs.Started == 0
	return k, k.load(ctx, s, st)
}

// runNames lists a pipeline's runs, the last one first: those that the store knows, then those that only jobs name.
func (s *Server) runNames(pipelineName string) []string {
	names := []string{}
	for _, r := range s.runs(pipelineName) {
		names = append(names, r.Name)
	}
	for _, j := range slices.Backward(s.c.Managers[pipelineName].Jobs()) {
		if !slices.Contains(names, j.Run) {
			names = append(names, j.Run)
		}
	}
	return names
}

// jobsIn are the jobs of a run of a pipeline. A run of another configuration has those that were submitted by it.
func (s *Server) jobsIn(pipelineName, run string) (jobs []job.Job) {
	list := s.runs(pipelineName)
	if i := slices.IndexFunc(list, func(r view.Run) bool { return r.Name == run }); i == 0 || len(list) == 0 {
		jobs = s.current(pipelineName)
		if len(list) > 0 || len(jobs) > 0 && jobs[len(jobs)-1].Run == run {
			return jobs
		}
	}
	jobs = nil
	for _, j := range s.c.Managers[pipelineName].Jobs() {
		if j.Run == run {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// load takes the figures from the first of the pipelines that has any: the analysis may stand in one that reads this one's
// events.
func (k *KPIs) load(ctx context.Context, s *Server, st *view.Store) (err error) {
	pipelines := s.lineage.Tree(k.Pipeline)
	fleets, err := st.Fleets(ctx, k.Run)
	if err != nil {
		return err
	}
	k.Fleets = slices.DeleteFunc(fleets, func(f view.Fleet) bool { return !slices.Contains(pipelines, f.Pipeline) })
	for _, name := range pipelines {
		f := view.Filter{Pipeline: name, Jobs: ids(s.jobsIn(name, k.Run))}
		k.Histograms, k.Worst = []view.Histogram{}, []view.Worst{}
		for _, h := range []string{"ttc_hist", "areq_hist"} {
			hist, err := st.Histogram(ctx, f, h)
			if err != nil {
				return err
			}
			k.Histograms = append(k.Histograms, hist)
		}
		if k.Worst, err = st.WorstRecordings(ctx, f, worstRecordings); err != nil {
			return err
		}
		if k.Histograms[0].Recordings > 0 {
			return nil
		}
	}
	return nil
}
