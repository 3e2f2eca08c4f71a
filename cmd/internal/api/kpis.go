package api

import (
	"context"
	"slices"

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

// kpis takes ?run=; without, the run whose job was queued last.
func (s *Server) kpis(ctx context.Context, q query) (any, error) {
	st, err := s.store()
	if err != nil {
		return nil, err
	}
	name := q.Get("pipeline")
	m := s.c.Managers[name]
	if m == nil {
		return nil, s.noPipeline(name)
	}
	k := KPIs{Pipeline: name, Run: q.Get("run"), Runs: []string{}, Histograms: []view.Histogram{}, Worst: []view.Worst{}}
	jobs := m.Jobs()
	for _, j := range slices.Backward(jobs) {
		if !slices.Contains(k.Runs, j.Run) {
			k.Runs = append(k.Runs, j.Run)
		}
	}
	if k.Run == "" && len(k.Runs) > 0 {
		k.Run = k.Runs[0]
	}
	for _, j := range jobs {
		if j.Run == k.Run {
			k.Jobs.add(j.State)
		}
	}
	k.Final = k.Jobs.Total > 0 && k.Jobs.Queued+k.Jobs.Started == 0
	return k, k.load(ctx, st, s.tree(name))
}

// tree is a pipeline and those that read its events.
func (s *Server) tree(name string) []string {
	names := []string{name}
	for _, p := range s.c.Engine.Pipelines() {
		if p != name && s.home(p) == name {
			names = append(names, p)
		}
	}
	return names
}

// load takes the figures from the first of the pipelines that has any: the analysis may stand in one that reads this one's
// events.
func (k *KPIs) load(ctx context.Context, st *view.Store, pipelines []string) (err error) {
	fleets, err := st.Fleets(ctx, k.Run)
	if err != nil {
		return err
	}
	k.Fleets = slices.DeleteFunc(fleets, func(f view.Fleet) bool { return !slices.Contains(pipelines, f.Pipeline) })
	for _, name := range pipelines {
		f := view.Filter{Pipeline: name, Latest: true}
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
