package engine_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/memory"
)

// TestEventsThatAreGoneFailTheJob: somebody removed what a stage has not taken. Nobody can go on, and the run is not to wait.
func TestEventsThatAreGoneFailTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		reader := boot(t, setup{yaml: straight, broker: store.Client(), retain: true, stages: []string{"read"}})
		ids := reader.submit()
		time.Sleep(10 * time.Second)
		reader.stop()
		log, err := store.Client().Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "read"})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if err := log.Trim(t.Context(), schemas.ChainID{Job: id, Stage: "read"}, ^schemas.Position(0)); err != nil {
				t.Fatal(err)
			}
		}
		p := boot(t, setup{yaml: straight, broker: store.Client(), store: newMemorySink(), retain: true})
		for _, j := range p.finish() {
			if j.State != schemas.JobFailed || !strings.Contains(j.Error, transport.ErrGone.Error()) {
				t.Errorf("job %s is %s: %q", j.Item, j.State, j.Error)
			}
		}
	})
}
