package cmd

import (
	"fmt"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// maxTold is how many losses of a group are told one by one.
const maxTold = 5

// A lossReport warns of what a copy of a recording lacks.
type lossReport struct {
	a     *app
	file  string
	count map[*mdf.ChannelGroup]int
}

func (a *app) losses(file string) *lossReport {
	return &lossReport{a: a, file: file, count: map[*mdf.ChannelGroup]int{}}
}

func (r *lossReport) warn(format string, args ...any) {
	fmt.Fprintf(r.a.stderr, "warning: %s: %s [W-mf4]\n", r.file, fmt.Sprintf(format, args...))
}

// add warns of a loss. It is what mdf.ExcerptOptions.Lost wants.
func (r *lossReport) add(g *mdf.ChannelGroup, l mdf.Loss) {
	r.count[g]++
	if n := r.count[g]; n > maxTold {
		if n == maxTold+1 {
			r.warn("lost: %s (group %d) lacks more parts; milepost inspect -o json lists them", g.AcqName, g.Index)
		}
		return
	}
	what := "lost: "
	if l.Channel != nil {
		what = fmt.Sprintf("lost: the values of %s in ", l.Channel.Name)
	}
	r.warn("%s%s", what, viewLoss(l).text(g.AcqName, g.Index))
}
