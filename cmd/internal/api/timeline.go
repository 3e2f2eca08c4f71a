package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/view"
	"github.com/milepost-dev/milepost/schemas"
)

// documents lists a recording's documents: ?type=a,b, ?from= and ?to= in seconds, ?offset=, ?limit=.
func (s *Server) documents(ctx context.Context, q query) (any, error) {
	jobs, err := s.jobsOf(q)
	if err != nil {
		return nil, err
	}
	st, err := s.store()
	if err != nil {
		return nil, err
	}
	offset, limit, err := q.page()
	if err != nil {
		return nil, err
	}
	from, to, err := q.window()
	if err != nil {
		return nil, err
	}
	docs := []view.Document{}
	for _, j := range jobs {
		f := view.DocumentFilter{Job: j.ID, Types: splitList(q.Get("type")), From: from, To: to}
		list, err := st.Documents(ctx, f, view.Page{Limit: offset + limit})
		if err != nil {
			return nil, err
		}
		docs = append(docs, list...)
	}
	slices.SortStableFunc(docs, func(a, b view.Document) int { return cmp.Compare(a.TimeS, b.TimeS) })
	return map[string]any{"offset": offset, "limit": limit, "documents": slice(docs, offset, limit)}, nil
}

// window reads ?from= and ?to=, seconds since the recording's start; without to, and with 0 for both, to is 0: the end.
func (q query) window() (from, to time.Duration, err error) {
	if from, err = q.seconds("from"); err != nil {
		return 0, 0, err
	}
	if to, err = q.seconds("to"); err != nil {
		return 0, 0, err
	}
	if to <= from && (to != 0 || from != 0 && q.Get("to") != "") {
		return 0, 0, badParam("to", q.Get("to"), "after from="+q.Get("from"))
	}
	return from, to, nil
}

func (q query) seconds(name string) (time.Duration, error) {
	v := q.Get(name)
	if v == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(strings.TrimSuffix(v, "s") + "s")
	if err != nil || d < 0 || d > 100*24*time.Hour {
		return 0, badParam(name, v, "seconds since the recording's start")
	}
	return d, nil
}

// timeline is signals of a recording over a window: ?signal= (several, as `signals` names them), ?from=, ?to=, ?px=.
func (s *Server) timeline(ctx context.Context, q query) (any, error) {
	jobs, err := s.jobsOf(q)
	if err != nil {
		return nil, err
	}
	st, err := s.store()
	if err != nil {
		return nil, err
	}
	from, to, err := q.window()
	if err != nil {
		return nil, err
	}
	px, err := q.number("px", 1000, 1, 10000)
	if err != nil {
		return nil, err
	}
	refs := slices.DeleteFunc(slices.Clone(q.Values["signal"]), func(r string) bool { return r == "" })
	line, err := s.course(ctx, st, jobs, refs, from, to, px)
	switch {
	case errors.Is(err, view.ErrAmbiguous):
		return nil, badParam("signal", strings.Join(refs, ","), "one signal: "+err.Error())
	}
	return line, err
}

// course asks each job for the signals that it has; one that none has is refused.
func (s *Server) course(ctx context.Context, st *view.Store, jobs []Job, refs []string, from, to time.Duration, px int) (view.Timeline, error) {
	owner, known := make([]schemas.JobID, len(refs)), []string{}
	for _, j := range slices.Backward(jobs) {
		signals, err := st.Signals(ctx, j.ID)
		if err != nil {
			return view.Timeline{}, err
		}
		for _, g := range signals {
			known = append(known, g.Ref)
		}
		for i, ref := range refs {
			if slices.ContainsFunc(signals, func(g view.Signal) bool { return ref == g.Ref || ref == g.Table+"."+g.Name || ref == g.Name }) {
				owner[i] = j.ID
			}
		}
	}
	for i, ref := range refs {
		if owner[i] == "" {
			return view.Timeline{}, noSignal(ref, known)
		}
	}
	line, err := st.Timeline(ctx, jobs[0].ID, nil, from, to, px)
	if err != nil {
		return line, err
	}
	from, to = time.Duration(line.FromS*1e9+0.5), time.Duration(line.ToS*1e9+0.5)
	for i, ref := range refs {
		one, err := st.Timeline(ctx, owner[i], []string{ref}, from, to, px)
		if err != nil {
			return line, err
		}
		line.Series = append(line.Series, one.Series...)
	}
	return line, nil
}

// maxNamed is how many signals a refusal names.
const maxNamed = 30

func noSignal(ref string, known []string) error {
	if len(known) == 0 {
		return notFound("no signal %q; none of the recording's signals is stored yet", ref)
	}
	slices.Sort(known)
	more, meant := "", ""
	if n := len(known) - maxNamed; n > 0 {
		more = fmt.Sprintf(" and %d more, which the recording itself lists", n)
	}
	words := slices.Clone(known)
	for _, k := range known { // the stage may be left out
		words = append(words, k[strings.IndexByte(k, '/')+1:])
	}
	if near := pipeline.Nearest(ref, words); near != "" {
		meant = fmt.Sprintf("; did you mean %q?", near)
	}
	return notFound("no signal %q; there are %s%s%s", ref, commas(known[:min(len(known), maxNamed)]), more, meant)
}
