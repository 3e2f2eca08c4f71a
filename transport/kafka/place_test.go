package kafka

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// TestMorePartitions: topics that were given more partitions hold the jobs where they were, and are taken only by who looks
// for them there.
func TestMorePartitions(t *testing.T) {
	const before, after, jobs = 4, 8, 12
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	open := func(partitions int, stage string) (transport.Log, error) {
		t.Helper()
		b, err := Connect(t.Context(), Config{Seeds: c.ListenAddrs(), Partitions: partitions})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: stage})
	}
	made := func(partitions int, stage string) transport.Log {
		t.Helper()
		l, err := open(partitions, stage)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	refused := func(partitions int, stage string) {
		t.Helper()
		_, err := open(partitions, stage)
		if err == nil || !strings.Contains(err.Error(), "set that to what it was when the job began") {
			t.Errorf("jobs lie elsewhere than by %d partitions: %v", partitions, err)
		}
	}
	chain := func(n int) schemas.ChainID { return schemas.ChainID{Job: schemas.NewJobID(fmt.Sprint(n)), Stage: "s"} }
	write := func(l transport.Log) {
		t.Helper()
		for n := range jobs {
			appendSync(t, l, chain(n))
		}
	}
	l := made(before, "s")
	write(l)
	_ = made(before, "new")
	admin := kadm.NewClient(l.(*log).broker.client)
	for _, stage := range []string{"s", "new"} {
		for _, topic := range []string{"", ".dlq", ".state"} {
			widened, err := admin.UpdatePartitions(t.Context(), after, "mp.p."+stage+topic)
			if err == nil {
				err = widened.Error()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	refused(after, "s")
	again := made(before, "s")
	write(again)
	for n := range jobs {
		if _, s, err := again.Open(t.Context(), chain(n)); err != nil || s.Out != 2 {
			t.Errorf("chain %s has %d events, %v; want 2", chain(n), s.Out, err)
		}
	}
	_, err = again.Read(t.Context(), chain(0), schemas.Position(after-1)<<partitionShift|1)
	if !errors.Is(err, transport.ErrLost) {
		t.Errorf("read behind a position of another partition: %v", err)
	}
	wide := made(after, "new")
	appendSync(t, wide, schemas.ChainID{Job: chain(0).Job, Stage: "new"})
	refused(before, "new")
}
