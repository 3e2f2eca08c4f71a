package kafka

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/milepost-dev/milepost/transport"
)

// A Right is what a user may do with resources of one kind, in the terms of kafka-acls.sh.
type Right struct {
	Resource   string   `json:"resource"` // topic, transactional-id or group
	Pattern    string   `json:"pattern"`  // literal, or prefixed: all whose names begin so
	Names      []string `json:"names"`
	Operations []string `json:"operations"`
}

// operation is a set of what may be done, a bit for each kmsg.ACLOperation, as brokers answer it.
type operation int32

const (
	reading          operation = 1 << kmsg.ACLOperationRead
	writing          operation = 1 << kmsg.ACLOperationWrite
	creating         operation = 1 << kmsg.ACLOperationCreate
	removing         operation = 1 << kmsg.ACLOperationDelete // of records too
	describing       operation = 1 << kmsg.ACLOperationDescribe
	seeingConfigured operation = 1 << kmsg.ACLOperationDescribeConfigs
)

// operations are the words for those that we use.
var operations = []struct {
	bit  operation
	word string
}{{reading, "Read"}, {writing, "Write"}, {creating, "Create"}, {removing, "Delete"}, {describing, "Describe"}, {seeingConfigured, "DescribeConfigs"}}

func (o operation) words() (all []string) {
	for _, known := range operations {
		if o&known.bit != 0 {
			all = append(all, known.word)
		}
	}
	return all
}

// needs is what a use of a log does with its topics.
func needs(u transport.LogUse) (on [3]operation) {
	every := func(o operation) {
		for place := range on {
			on[place] |= o
		}
	}
	every(describing)
	on[stateTopic] |= reading // whether the jobs lie where we look for them
	if u.Make {
		every(creating | seeingConfigured)
	}
	if u.Read {
		every(reading)
	}
	if u.Write {
		every(reading | writing)
	}
	if u.Trim {
		on[stateTopic] |= reading | writing
		on[outTopic] |= removing
	}
	if u.Purge {
		on[stateTopic] |= reading | writing
		on[dlqTopic] |= reading | writing
	}
	if u.Take {
		on[outTopic] |= reading
	}
	return on
}

// RightsFor is the least that a process needs for these uses of logs whose topics begin with the prefix: all else may be refused.
func RightsFor(prefix string, uses []transport.LogUse) (all []Right) {
	topics := map[operation][]string{}
	var producers, groups []string
	for _, u := range uses {
		names := topicsOf(prefix, u.Pipeline, u.Stage)
		for place, o := range needs(u) {
			topics[o] = append(topics[o], names[place])
		}
		if u.Write {
			producers = append(producers, names[outTopic]+"/")
		}
		if u.Take {
			groups = append(groups, names[outTopic]+".")
		}
	}
	for _, o := range slices.Sorted(maps.Keys(topics)) {
		slices.Sort(topics[o])
		all = append(all, Right{"topic", "literal", slices.Compact(topics[o]), o.words()})
	}
	for _, r := range []Right{{"transactional-id", "prefixed", producers, (writing | describing).words()}, {"group", "prefixed", groups, reading.words()}} {
		if len(r.Names) > 0 {
			slices.Sort(r.Names)
			r.Names = slices.Compact(r.Names)
			all = append(all, r)
		}
	}
	return all
}
