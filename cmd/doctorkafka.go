package cmd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/transport/jetstream"
	"github.com/milepost-dev/milepost/transport/kafka"
)

// kafka looks at a cluster that answered: how many brokers there are, what the user may do, and the topics that are there.
func (d *examination) kafka(ctx context.Context, b *kafka.Broker, role jetstream.Role) {
	k := d.spec.Transport.Kafka
	v, err := b.Survey(ctx, engine.Uses(d.spec, partOf(role, d.flags)))
	if err != nil {
		text, fix := adviceIn(err)
		d.add(wrong, "transport", fix, "%s", text)
		return
	}
	d.add(fine, "transport", "", "kafka %s  %s, replication %d, events of up to %s", b.Describe().Address, plural(v.Brokers, "broker"), k.Replication, bytesText(int64(b.Describe().MaxEvent)))
	if v.Brokers > 1 && k.Replication == 1 {
		d.add(doubt, "cluster", fmt.Sprintf("transport.kafka.replication: %d", min(3, v.Brokers)), "%d brokers, but each topic is made with one copy: the loss of its broker stops the run", v.Brokers)
	}
	slices.Sort(v.Denied)
	d.denied(role, v.Denied)
	for status, all := range map[string][]error{wrong: v.Faults, doubt: v.Doubts} {
		for _, err := range all {
			text, fix, _ := strings.Cut(err.Error(), "\n  next: ")
			d.add(status, "topics", fix, "%s", text)
		}
	}
	if len(v.Faults) == 0 {
		rest := ""
		if v.There < v.Logs {
			rest = ", the rest is made by milepost run"
		}
		d.add(fine, "topics", "", "those of %d of %d logs are there%s", v.There, v.Logs, rest)
	}
}

// partOf is what a process of the role does.
func partOf(r jetstream.Role, f doctorFlags) engine.Part {
	return engine.Part{Stages: stagesOf(r, f), Owner: r == jetstream.RoleRun, Watcher: r == jetstream.RoleReader}
}

// A roleRights is what a role's user has to be allowed on Kafka.
type roleRights struct {
	Role   jetstream.Role `json:"role"`
	Stages []string       `json:"stages,omitempty"`
	Rights []kafka.Right  `json:"rights"`
}

func rightsOf(s *spec.Spec, r jetstream.Role, f doctorFlags) roleRights {
	return roleRights{r, stagesOf(r, f), kafka.RightsFor(s.Transport.Kafka.Prefix, engine.Uses(s, partOf(r, f)))}
}

// text is the rights as calls of Kafka's own tool. Who the user is depends on how brokers name those who log in.
func (r roleRights) text(s *spec.Spec) string {
	var b strings.Builder
	b.WriteString(roleHeading(r.Role, r.Stages))
	servers := strings.Join(s.Transport.Kafka.Brokers, ",")
	for _, right := range r.Rights {
		fmt.Fprintf(&b, "kafka-acls.sh --bootstrap-server %s --add --allow-principal User:%s", servers, r.Role)
		for _, o := range right.Operations {
			b.WriteString(" --operation " + o)
		}
		b.WriteString(" --resource-pattern-type " + right.Pattern)
		for _, n := range right.Names {
			fmt.Fprintf(&b, " --%s '%s'", right.Resource, n)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
