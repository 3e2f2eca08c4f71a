package kafka

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/sync/errgroup"

	"github.com/milepost-dev/milepost/schemas"
)

// place is where a job's chain lies among so many partitions: FNV-1a of its name, never to be changed.
func place(job schemas.JobID, parts int) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(job))
	return int32(h.Sum32() % uint32(parts))
}

// partition is where a job's chain lies.
func (l *log) partition(job schemas.JobID) *part { return l.parts[place(job, len(l.parts))] }

// placed refuses topics in which jobs lie elsewhere than we would look for them, and begin them anew: which is so when the
// topics were given more partitions, and the configuration too. Of each partition it looks at what a fetch brings; the rest
// is looked at when it is read. Partitions that were added are left alone, as long as the configuration says so.
func (l *log) placed(ctx context.Context) error {
	g, together := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, p := range l.parts {
		g.Go(func() error { return p.index.begin(together) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for n := len(l.parts); n < l.width(); n++ {
		p, err := l.fetch(ctx, l.topics[stateTopic], int32(n), 0, 0)
		if err != nil && !errors.Is(err, kerr.OffsetOutOfRange) {
			return err
		}
		for _, r := range p.records {
			if header(r, headerKind) != "" {
				return l.misplaced(l.jobOf(r), int32(n))
			}
		}
	}
	return nil
}

// width is the number of partitions that the state topic has.
func (l *log) width() int {
	l.broker.layout.mu.Lock()
	defer l.broker.layout.mu.Unlock()
	return len(l.broker.layout.topics[l.topics[stateTopic]].leaders)
}

func (l *log) misplaced(job schemas.JobID, n int32) error {
	return fmt.Errorf("topic %s holds job %s in partition %d, and transport.kafka.partitions: %d puts it elsewhere, where it would begin anew\n  next: set that to what it was when the job began (partitions that were added to the topic since stay empty)",
		l.topics[stateTopic], job, n, len(l.parts))
}
