package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/milepost-dev/milepost/transport"
)

// A Survey is what a cluster says of itself, of a user's rights and of the topics of some logs.
type Survey struct {
	Brokers     int
	Logs, There int      // logs asked about, and those whose topics are all there
	Denied      []string // what the user may not do and has to, such as "Write topic mp.p.s"
	Faults      []error  // what keeps a process from working; each with a last part "\n  next: …"
	Doubts      []error  // what does not, as long as nothing else happens
}

// Survey looks at what a process needs that does this with logs. It changes nothing.
func (b *Broker) Survey(ctx context.Context, uses []transport.LogUse) (Survey, error) {
	limited, cancel := b.limit(ctx)
	defer cancel()
	v := &survey{Broker: b, Survey: Survey{Logs: len(uses)}}
	cluster, err := b.admin.BrokerMetadata(limited)
	if err != nil {
		return v.Survey, b.fetchError(ctx, err)
	}
	v.Brokers = len(cluster.Brokers)
	if v.Brokers < b.config.Replication {
		v.fault("replication is %d, and the cluster has %d brokers\n  next: set transport.kafka.replication to %d, or start more brokers", b.config.Replication, v.Brokers, v.Brokers)
	}
	for _, u := range uses {
		if err := v.log(limited, u); err != nil {
			return v.Survey, b.fetchError(ctx, err)
		}
	}
	return v.Survey, nil
}

type survey struct {
	*Broker
	Survey
}

func (v *survey) fault(format string, args ...any) {
	v.Faults = append(v.Faults, fmt.Errorf(format, args...))
}

func (v *survey) deny(o operation, kind, name string) {
	for _, word := range o.words() {
		v.Denied = append(v.Denied, word+" "+kind+" "+name)
	}
}

// log looks at one log.
func (v *survey) log(ctx context.Context, u transport.LogUse) error {
	names := topicsOf(v.config.Prefix, u.Pipeline, u.Stage)
	found, err := v.lookUp(ctx, names[:], true)
	if err != nil {
		return err
	}
	var missing []int
	for place, name := range names {
		need := needs(u)[place]
		switch t := found[name]; {
		case errors.Is(t.err, kerr.UnknownTopicOrPartition):
			missing = append(missing, place)
		case errors.Is(t.err, kerr.TopicAuthorizationFailed):
			v.deny(need, "topic", name)
		case t.err != nil:
			v.fault("topic %s: %w\n  next: look at the brokers' logs", name, t.err)
		default:
			v.topic(names, name, &t, need&^creating) // it is there
		}
	}
	if len(missing) == 0 {
		v.There++
		v.placed(ctx, u, names)
	} else if u.Make {
		if err := v.creatable(ctx, names, missing); err != nil {
			return err
		}
	}
	if len(missing) < len(names) {
		var there []int
		for place := range names {
			if found[names[place]].err != nil {
				there = append(there, place) // not there: nothing to look at
			}
		}
		if err := v.examine(ctx, names, there, found); err != nil {
			v.Faults = append(v.Faults, err)
		}
	}
	if u.Write {
		if err := v.producer(ctx, names[outTopic]+"/0"); err != nil {
			return err
		}
	}
	if u.Take {
		return v.group(ctx, names[outTopic]+".doctor")
	}
	return nil
}

// placed looks whether jobs lie where the configuration puts them, if the topics can be read.
func (v *survey) placed(ctx context.Context, u transport.LogUse, names [3]string) {
	if len(v.Denied)+len(v.Faults) > 0 || v.learn(ctx, names, 0) != nil {
		return
	}
	l := v.newLog(names, transport.LogConfig{Pipeline: u.Pipeline, Stage: u.Stage}, v.config.Partitions)
	if err := l.placed(ctx); err != nil {
		v.Faults = append(v.Faults, err)
	}
}

// topic looks at one that is there.
func (v *survey) topic(names [3]string, name string, t *topicInfo, need operation) {
	v.deny(need&^operation(t.may), "topic", name)
	switch {
	case len(t.leaders) < v.config.Partitions:
		v.Faults = append(v.Faults, misfit(names, name, len(t.leaders), v.config.Partitions))
	case slices.Contains(t.leaders, -1):
		v.fault("topic %s has no leader for partition %d: brokers are away\n  next: start brokers %s", name, slices.Index(t.leaders, -1), numbers(t.behind))
	case len(t.behind) > 0:
		v.Doubts = append(v.Doubts, fmt.Errorf("topic %s: copies on brokers %s are away or behind\n  next: start them, or wait until they have caught up", name, numbers(t.behind)))
	case t.copies < v.config.Replication:
		v.Doubts = append(v.Doubts, fmt.Errorf("topic %s has %d of %d copies\n  next: kafka-reassign-partitions.sh gives it more", name, t.copies, v.config.Replication))
	}
}

func numbers(all []int32) string {
	slices.Sort(all)
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(all), " ", ", "), "[]")
}

// creatable has the cluster say whether it would make topics, without making them.
func (v *survey) creatable(ctx context.Context, names [3]string, missing []int) error {
	copies := v.config.Replication
	req := v.creation(names, missing, v.config.Partitions, copies)
	req.ValidateOnly = true
	resp, err := req.RequestWith(ctx, v.client)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		switch err := createError(&t); {
		case err == nil, errors.Is(err, kerr.TopicAlreadyExists), errors.Is(err, kerr.InvalidReplicationFactor) && v.Brokers < copies: // said once
		case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
			v.deny(creating, "topic", t.Topic)
		default:
			v.Faults = append(v.Faults, v.refusedTopic(t.Topic, err, v.recipe(names, missing, v.config.Partitions, copies)))
		}
	}
	return nil
}

// producer asks to end a transaction of a producer that is none: who may not write by the id is told so, everybody else that it
// is another's.
func (v *survey) producer(ctx context.Context, id string) error {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = id, -1, -1
	resp, err := req.RequestWith(ctx, v.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
		v.deny(writing|describing, "transactional-id", id)
		return nil
	}
	return unanswered(err)
}

// group lets a member that is none say that it is alive: who may not read by the group is told so, everybody else that it is unknown.
func (v *survey) group(ctx context.Context, name string) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID = name, "nobody"
	resp, err := req.RequestWith(ctx, v.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if errors.Is(err, kerr.GroupAuthorizationFailed) {
		v.deny(reading, "group", name)
		return nil
	}
	return unanswered(err)
}

// unanswered is the error of a request that no broker answered.
func unanswered(err error) error {
	if e := (*kerr.Error)(nil); errors.As(err, &e) {
		return nil
	}
	return err
}
