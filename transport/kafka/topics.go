package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/milepost-dev/milepost/transport"
)

// state topics are compacted soon and in small pieces: what a process reads of them when it first needs a partition is what
// was not compacted yet.
const (
	stateSegment = 16 << 20
	stateRoll    = 10 * time.Minute
)

// topicsOf are the names of a log's topics.
func topicsOf(prefix, pipeline, stage string) [3]string {
	name := prefix + encode(pipeline) + "." + encode(stage)
	return [3]string{name, name + ".dlq", name + ".state"}
}

// settings are what a topic of a log needs that is kept in so many copies.
func (c *Config) settings(place, copies int) map[string]string {
	s := map[string]string{"max.message.bytes": strconv.Itoa(c.MaxMessageBytes), "cleanup.policy": "compact", "retention.ms": "-1", "retention.bytes": "-1",
		"message.timestamp.type": "LogAppendTime"} // brokers refuse records of a worker whose clock is an hour ahead
	if copies >= 3 { // what one broker alone had stored would be gone with it; with two copies, the loss of either stopped all
		s["min.insync.replicas"] = "2"
	}
	switch place {
	case outTopic:
		s["cleanup.policy"] = "delete"
		if c.Retention > 0 {
			s["retention.ms"] = strconv.FormatInt(c.Retention.Milliseconds(), 10)
		}
	case stateTopic:
		s["segment.bytes"], s["segment.ms"] = strconv.Itoa(stateSegment), strconv.FormatInt(stateRoll.Milliseconds(), 10)
		s["min.cleanable.dirty.ratio"] = "0.2"
	}
	return s
}

// needed are those without which a topic that is there already is refused: nothing may be lost, and everything must fit.
var needed = []string{"cleanup.policy", "retention.ms", "retention.bytes", "max.message.bytes", "min.insync.replicas"}

// topics makes the topics of a log, or checks them, and returns their number of partitions.
func (b *Broker) topics(ctx context.Context, names [3]string, c transport.LogConfig) (int, error) {
	parts := cmp.Or(c.Parts, b.config.Partitions)
	copies := max(c.Replicas, b.config.Replication)
	var made []int // by us: they need no look
	var found map[string]topicInfo
	for {
		var missing []int
		var err error
		if missing, found, err = b.missing(ctx, names, parts); err != nil {
			return 0, err
		}
		there, err := b.create(ctx, names, missing, parts, copies)
		if err != nil {
			return 0, err
		}
		made = append(made, slices.DeleteFunc(missing, func(place int) bool { return slices.Contains(there, place) })...)
		if len(there) == 0 {
			break
		}
		if !b.rest(ctx, retryAfter) {
			return 0, fmt.Errorf("topic %s is there already, and the broker does not show it (is it being deleted?): %w", names[there[0]], context.Cause(ctx))
		}
	}
	if err := b.examine(ctx, names, made, found); err != nil {
		return 0, err
	}
	return parts, b.learn(ctx, names, createLimit)
}

// missing are the places of topics that are not there; those that are have to have so many partitions at least.
func (b *Broker) missing(ctx context.Context, names [3]string, parts int) (places []int, found map[string]topicInfo, err error) {
	if found, err = b.lookUp(ctx, names[:], false); err != nil {
		return nil, nil, b.fetchError(ctx, err)
	}
	for place, name := range names {
		switch t := found[name]; {
		case errors.Is(t.err, kerr.UnknownTopicOrPartition):
			places = append(places, place)
		case t.err != nil:
			return nil, nil, fmt.Errorf("topic %s: %w", name, b.advise(t.err))
		case len(t.leaders) < parts:
			return nil, nil, misfit(names, name, len(t.leaders), parts)
		}
	}
	return places, found, nil
}

// misfit is the error of a topic that has too few partitions.
func misfit(names [3]string, name string, has, parts int) error {
	return fmt.Errorf("topic %s has %d partitions, not %d\n  next: set transport.kafka.partitions to %d, or have the topics %s made anew with %d",
		name, has, parts, has, strings.Join(names[:], ", "), parts)
}

// create makes topics, all in one request. Those that somebody else made meanwhile it returns: they may not fit. Where making
// them is not allowed, the error says what they have to be like.
func (b *Broker) create(ctx context.Context, names [3]string, missing []int, parts, copies int) (there []int, err error) {
	if len(missing) == 0 {
		return nil, nil
	}
	resp, err := b.creation(names, missing, parts, copies).RequestWith(ctx, b.client)
	if err != nil {
		return nil, fmt.Errorf("make topics: %w", b.fetchError(ctx, err))
	}
	for _, t := range resp.Topics {
		err := createError(&t)
		if errors.Is(err, kerr.TopicAlreadyExists) {
			there = append(there, slices.Index(names[:], t.Topic))
			continue
		}
		if err != nil {
			return nil, b.refusedTopic(t.Topic, err, b.recipe(names, missing, parts, copies))
		}
	}
	return there, nil
}

// creation is the request that makes topics.
func (b *Broker) creation(names [3]string, missing []int, parts, copies int) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = int32(createLimit.Milliseconds())
	for _, place := range missing {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = names[place], int32(parts), int16(copies)
		for k, v := range b.config.settings(place, copies) {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = k, &v
			t.Configs = append(t.Configs, c)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

func createError(t *kmsg.CreateTopicsResponseTopic) error {
	err := kerr.ErrorForCode(t.ErrorCode)
	if err != nil && t.ErrorMessage != nil {
		err = fmt.Errorf("%w (%s)", err, *t.ErrorMessage)
	}
	return err
}

// refusedTopic says what to do about a topic that was not made.
func (b *Broker) refusedTopic(topic string, err error, recipe string) error {
	switch {
	case errors.Is(err, kerr.InvalidReplicationFactor):
		return fmt.Errorf("make topic %s: %w\n  next: set transport.kafka.replication to no more than there are brokers", topic, err)
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed), errors.Is(err, kerr.PolicyViolation):
		return fmt.Errorf("topic %s is not there and may not be made by this user: %w (%w) [E-permission]\n  next: allow CREATE on topics with the prefix %s, or have them made:\n%s",
			topic, transport.ErrDenied, err, b.config.Prefix, recipe)
	}
	return fmt.Errorf("make topic %s: %w", topic, err)
}

// recipe is how an administrator makes the topics that are missing.
func (b *Broker) recipe(names [3]string, missing []int, parts, copies int) string {
	var lines []string
	for _, place := range missing {
		line := fmt.Sprintf("  kafka-topics.sh --create --topic %s --partitions %d --replication-factor %d", names[place], parts, copies)
		settings := b.config.settings(place, copies)
		for _, k := range slices.Sorted(maps.Keys(settings)) {
			line += fmt.Sprintf(" --config %s=%s", k, settings[k])
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// examine looks at the settings of topics that were there before. One that may not be looked at is trusted.
func (b *Broker) examine(ctx context.Context, names [3]string, made []int, found map[string]topicInfo) error {
	if len(made) == len(names) {
		return nil
	}
	described, err := b.describe(ctx, names)
	if err != nil {
		return nil //nolint:nilerr // to look is a privilege of its own; what does not fit shows when it is used
	}
	var wrong []string
	for place, name := range names {
		r, err := described.On(name, nil)
		if err != nil || r.Err != nil || slices.Contains(made, place) {
			continue
		}
		if w := b.unfit(place, found[name].copies, r.Configs); len(w) > 0 {
			wrong = append(wrong, fmt.Sprintf("  kafka-configs.sh --alter --topic %s --add-config %s", name, strings.Join(w, ",")))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("topics are set so that events would be lost, or not fit\n  next: change them:\n%s", strings.Join(wrong, "\n"))
}

// describe asks for the topics' settings, again while a broker has not heard of one that was made a moment ago.
func (b *Broker) describe(ctx context.Context, names [3]string) (kadm.ResourceConfigs, error) {
	for {
		described, err := b.admin.DescribeTopicConfigs(ctx, names[:]...)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(described, func(r kadm.ResourceConfig) bool { return kerr.IsRetriable(r.Err) }) || !b.rest(ctx, retryAfter) {
			return described, nil
		}
	}
}

// unfit lists the settings that a topic of so many copies must get.
func (b *Broker) unfit(place, copies int, have []kadm.Config) (wrong []string) {
	want := b.config.settings(place, copies)
	for _, k := range needed {
		if want[k] == "" {
			continue
		}
		i := slices.IndexFunc(have, func(c kadm.Config) bool { return c.Key == k })
		if i < 0 || have[i].Value == nil || fits(k, *have[i].Value, want[k]) {
			continue
		}
		wrong = append(wrong, k+"="+want[k])
	}
	return wrong
}

// fits says whether a setting is the one wanted, or a larger one.
func fits(key, have, want string) bool {
	if key == "cleanup.policy" || have == want {
		return have == want
	}
	h, err := strconv.ParseInt(have, 10, 64)
	w, _ := strconv.ParseInt(want, 10, 64)
	return err == nil && (h < 0 || w >= 0 && h >= w)
}
