package jetstream

import (
	"slices"

	"github.com/milepost-dev/milepost/transport"
)

// Beginnings of the server's own subjects.
const (
	apiPrefix = "$JS.API."
	ackPrefix = "$JS.ACK."
	inboxRoot = "_INBOX."
)

// A Role is what a kind of process does, and so what its user has to be permitted.
type Role string

// The roles.
const (
	RoleRun    Role = "run"    // owns the jobs: makes streams, writes, trims and purges all
	RoleWorker Role = "worker" // runs stages: writes their chains, reads their inputs, takes deliveries of jobs
	RoleReader Role = "reader" // reads jobs and results, writes nothing
)

// Roles lists all.
func Roles() []Role { return []Role{RoleRun, RoleWorker, RoleReader} }

// Inbox is the prefix of the subjects that answers to the role come to. Each role has its own, so that a user who may listen to
// his cannot listen to another role's.
func (r Role) Inbox() string {
	if r == "" {
		r = RoleRun
	}
	return inboxRoot + "mp-" + string(r)
}

// A Grant is what a user may publish and subscribe to: all else is to be refused. In the terms of a server's configuration,
// permissions { publish = { allow: Publish }, subscribe = { allow: Subscribe } }.
type Grant struct {
	Publish   []string `json:"publish"`
	Subscribe []string `json:"subscribe"`
}

// GrantFor is the least that a process of the role needs for these uses of logs.
func GrantFor(r Role, uses []transport.LogUse) Grant {
	g := Grant{Publish: []string{apiPrefix + "INFO"}, Subscribe: []string{r.Inbox() + ".>"}}
	for _, u := range uses {
		g.Publish = append(g.Publish, publishes(u)...)
	}
	slices.Sort(g.Publish)
	g.Publish = slices.Compact(g.Publish)
	return g
}

func publishes(u transport.LogUse) (subjects []string) {
	n := newNames(u.Pipeline, u.Stage)
	api := func(call, rest string) { subjects = append(subjects, apiPrefix+call+"."+n.stream+rest) }
	api("STREAM.INFO", "")
	if u.Make {
		api("STREAM.CREATE", "")
		api("STREAM.UPDATE", "")
	}
	if u.Read || u.Write {
		api("STREAM.MSG.GET", "")
		api("DIRECT.GET", "")
	}
	if u.Read {
		api("CONSUMER.CREATE", ".>")
		api("CONSUMER.MSG.NEXT", ".*")
		api("CONSUMER.DELETE", ".*")
	}
	if u.Write {
		subjects = append(subjects, n.prefix+">")
	}
	if u.Trim {
		api("STREAM.PURGE", "")
	}
	if u.Purge {
		api("STREAM.MSG.DELETE", "")
	}
	if u.Take { // by any name: those of the durable consumers change with the configuration
		subjects = append(subjects, ackPrefix+n.stream+".>")
	}
	return subjects
}
