package kafka

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/milepost-dev/milepost/transport"
)

// TestCopies: what only one of three brokers has stored does not count as stored, in topics that we make and in those that are there.
func TestCopies(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for copies, want := range map[int]string{1: "1", 3: "2"} {
		b, err := Connect(t.Context(), Config{Seeds: c.ListenAddrs(), Partitions: 1, Replication: copies, Prefix: fmt.Sprintf("c%d.", copies)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		l, err := b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "s"})
		if err != nil {
			t.Fatal(err)
		}
		described, err := b.admin.DescribeTopicConfigs(t.Context(), l.(*log).topics[:]...)
		if err != nil || len(described) != 3 {
			t.Fatal(len(described), err)
		}
		for _, r := range described {
			for _, s := range r.Configs {
				if s.Key == "min.insync.replicas" && *s.Value != want {
					t.Errorf("with %d copies of topic %s, %s of them have to be up to date", copies, r.Name, *s.Value)
				}
			}
		}
		one := "1"
		for place, name := range topicsOf(b.config.Prefix, "p", "theirs") { // as an administrator might make it
			settings := map[string]*string{"min.insync.replicas": &one}
			for k, v := range b.config.settings(place, 1) {
				settings[k] = kadm.StringPtr(v)
			}
			if _, err := b.admin.CreateTopic(t.Context(), 1, int16(copies), settings, name); err != nil {
				t.Fatal(err)
			}
		}
		_, err = b.Log(t.Context(), transport.LogConfig{Pipeline: "p", Stage: "theirs"})
		if refused := err != nil && strings.Contains(err.Error(), "--topic c3.p.theirs.state --add-config min.insync.replicas=2"); refused != (copies == 3) {
			t.Errorf("topics of %d copies of which one has to be up to date: %v", copies, err)
		}
	}
}
