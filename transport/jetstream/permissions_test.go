package jetstream

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

// uses are those of the three roles on the logs of a jobs log, a stage read and a stage kpi, of which the worker runs kpi.
var uses = map[Role][]transport.LogUse{
	RoleRun: {
		{Pipeline: "p", Stage: "job", Make: true, Read: true, Write: true, Take: true},
		{Pipeline: "p", Stage: "read", Make: true, Read: true, Write: true, Trim: true, Purge: true},
		{Pipeline: "p", Stage: "kpi", Make: true, Read: true, Write: true, Trim: true, Purge: true},
	},
	RoleWorker: {
		{Pipeline: "p", Stage: "job", Read: true, Take: true},
		{Pipeline: "p", Stage: "read", Read: true},
		{Pipeline: "p", Stage: "kpi", Read: true, Write: true, Trim: true},
	},
	RoleReader: {{Pipeline: "p", Stage: "job", Read: true}, {Pipeline: "p", Stage: "read", Read: true}, {Pipeline: "p", Stage: "kpi", Read: true}},
}

// guarded starts a server with a user for each role, who may do what his role needs and nothing else.
func guarded(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	return serve(t, guard(o, nil))
}

// guard gives the options a user for each role; without takes subjects away from him.
func guard(o server.Options, without map[Role]string) server.Options {
	o.JetStream, o.Users = true, nil
	for _, r := range Roles() {
		g := GrantFor(r, uses[r])
		publish := slices.DeleteFunc(g.Publish, func(s string) bool { return s == without[r] })
		o.Users = append(o.Users, &server.User{Username: string(r), Password: "pa55word", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: g.Subscribe}}})
	}
	o.Users = append(o.Users, &server.User{Username: "admin", Password: "pa55word"})
	return o
}

func as(t *testing.T, s *server.Server, r Role) *Broker {
	t.Helper()
	b, err := Connect(t.Context(), Config{URL: s.ClientURL(), Role: r, Login: Login{User: string(r), Password: "pa55word"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// logs opens all that the role uses, by stage.
func logs(t *testing.T, b *Broker, r Role) map[string]transport.Log {
	t.Helper()
	all := map[string]transport.Log{}
	for _, u := range uses[r] {
		l, err := b.Log(t.Context(), transport.LogConfig{Pipeline: u.Pipeline, Stage: u.Stage})
		if err != nil {
			t.Fatal(err)
		}
		all[u.Stage] = l
	}
	return all
}

func put(t *testing.T, l transport.Log, stage string, sequence uint64) transport.Chain {
	t.Helper()
	id := schemas.ChainID{Job: crashID.Job, Stage: stage}
	ch, _, err := l.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	r := crashEvent(sequence)
	r.Event.Chain = id
	if _, err := ch.Append(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return ch
}

// TestRolesDoTheirWork: each role does all that its uses say, with just the permissions that follow from them.
func TestRolesDoTheirWork(t *testing.T) {
	t.Parallel()
	s := guarded(t, server.Options{})
	run := logs(t, as(t, s, RoleRun), RoleRun)
	put(t, run["job"], "job", 1)
	put(t, run["read"], "read", 1)
	worker := logs(t, as(t, s, RoleWorker), RoleWorker)
	c, err := worker["job"].Subscribe(t.Context(), transport.Subscription{Durable: "kpi", AckWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.Next(t.Context())
	if err == nil {
		err = d.InProgress(t.Context())
	}
	if err == nil {
		err = d.Ack(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	reads(t, worker["read"], "read")
	ch := put(t, worker["kpi"], "kpi", 1)
	if err := worker["kpi"].Commit(t.Context(), map[transport.Chain]transport.Checkpoint{ch: {Out: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := worker["kpi"].Trim(t.Context(), ch.ID(), 1); err != nil {
		t.Fatal(err)
	}
	put(t, worker["kpi"], "kpi", 2)
	for stage, l := range logs(t, as(t, s, RoleReader), RoleReader) {
		if stage == "kpi" {
			w, err := l.Watch(t.Context(), transport.WatchConfig{Kinds: []transport.Kind{transport.Snapshot}, Newest: true, Drain: true})
			if err == nil {
				_, err = w.Next(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
			continue
		}
		reads(t, l, stage)
	}
}

func reads(t *testing.T, l transport.Log, stage string) {
	t.Helper()
	r, err := l.Read(t.Context(), schemas.ChainID{Job: crashID.Job, Stage: stage}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if e, err := r.Next(t.Context()); err != nil || e.Event.Sequence != 1 {
		t.Fatalf("%s: event %d, %v", stage, e.Event.Sequence, err)
	}
	w, err := l.Watch(t.Context(), transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Drain: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if e, err := w.Next(t.Context()); err != nil || e.Event.Sequence != 1 {
		t.Fatalf("%s: watched %d, %v", stage, e.Event.Sequence, err)
	}
}

// concrete is a subject that falls under an entry of a list.
func concrete(entry string) string {
	return strings.NewReplacer("*", "x", ">", "x.out").Replace(entry)
}

// TestRolesAreRefusedTheRest: each role tries every subject that is another's, and inboxes of the others.
func TestRolesAreRefusedTheRest(t *testing.T) {
	t.Parallel()
	s := guarded(t, server.Options{})
	all := map[string]bool{"mp.q.read.j.out": true, apiPrefix + "STREAM.LIST": true, apiPrefix + "STREAM.DELETE.MP_p_kpi": true, "$SYS.REQ.SERVER.PING": true, "other": true}
	for r, u := range uses {
		for _, entry := range GrantFor(r, u).Publish {
			all[concrete(entry)] = true
		}
	}
	for _, r := range Roles() {
		g := GrantFor(r, uses[r])
		may := func(subject string) bool {
			return slices.ContainsFunc(g.Publish, func(entry string) bool { return server.SubjectsCollide(entry, subject) })
		}
		tries, refused := 0, 0
		refusals := refusalsOf(t, s, r, all)
		for subject := range all {
			tries++
			if refusals[subject] == may(subject) {
				t.Errorf("%s publishes to %s: refused %v, may %v", r, subject, refusals[subject], may(subject))
			}
			if refusals[subject] {
				refused++
			}
		}
		if refused == 0 || r == RoleReader && refused < 10 {
			t.Errorf("%s was refused %d of %d subjects", r, refused, tries)
		}
	}
}

// refusalsOf publishes to every subject as the role, and tries to listen to the other roles' inboxes, to events and to all.
func refusalsOf(t *testing.T, s *server.Server, r Role, subjects map[string]bool) map[string]bool {
	t.Helper()
	said := make(chan error, 200)
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo(string(r), "pa55word"), nats.CustomInboxPrefix(r.Inbox()),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { said <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for subject := range subjects {
		m := &nats.Msg{Subject: subject, Data: []byte("{"), Header: nats.Header{"Nats-Expected-Stream": {"none"}}}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	listens := map[string]bool{">": true, "mp.>": true, apiPrefix + ">": true, inboxRoot + ">": true, r.Inbox() + ".x": false}
	for _, other := range Roles() {
		if other != r {
			listens[other.Inbox()+".>"] = true
		}
	}
	for subject := range listens {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	last := nats.NewInbox() // a refusal that is certain, behind all others
	if err := nc.Publish(last, nil); err != nil {
		t.Fatal(err)
	}
	refused := map[string]bool{}
	for err := range said {
		d := deniedBy(err)
		if d == nil {
			t.Fatal(err)
		}
		if d.Subject == last {
			break
		}
		refused[d.Verb+" "+d.Subject] = true
	}
	for subject, want := range listens {
		if refused["subscribe "+subject] != want {
			t.Errorf("%s listens to %s: refused %v", r, subject, !want)
		}
	}
	out := map[string]bool{}
	for subject := range subjects {
		out[subject] = refused["publish "+subject]
	}
	return out
}

// TestOnePermissionMissing takes each permission from each role in turn: what needs it says so by the subject and at once, what
// was stored is still there when the permission is back, and the work goes on without a new connection.
func TestOnePermissionMissing(t *testing.T) {
	t.Parallel()
	o := server.Options{StoreDir: t.TempDir()}
	s := guarded(t, o)
	run := logs(t, as(t, s, RoleRun), RoleRun)
	put(t, run["read"], "read", 1)
	b := as(t, s, RoleWorker)
	worker := logs(t, b, RoleWorker)
	put(t, worker["kpi"], "kpi", 1)
	ch := put(t, worker["kpi"], "kpi", 2)
	again := func() error {
		opened, _, err := worker["kpi"].Open(t.Context(), schemas.ChainID{Job: crashID.Job, Stage: "kpi"})
		if err == nil {
			ch = opened
		}
		return err
	}
	for sequence, c := range []struct {
		missing string
		do      func() error
	}{
		{"mp.p.kpi.>", func() error {
			r := crashEvent(3)
			r.Event.Chain = ch.ID()
			_, err := ch.Append(t.Context(), r)
			return err
		}},
		{apiPrefix + "DIRECT.GET.MP_p_kpi", again},
		{apiPrefix + "STREAM.INFO.MP_p_read", func() error { _, err := worker["read"].Stats(t.Context()); return err }},
		{apiPrefix + "STREAM.PURGE.MP_p_kpi", func() error { return worker["kpi"].Trim(t.Context(), ch.ID(), 1) }},
		{apiPrefix + "CONSUMER.CREATE.MP_p_read.>", func() error {
			_, err := worker["read"].Watch(t.Context(), transport.WatchConfig{Kinds: []transport.Kind{transport.Out}})
			return err
		}},
		{apiPrefix + "CONSUMER.MSG.NEXT.MP_p_read.*", func() error {
			w, err := worker["read"].Watch(t.Context(), transport.WatchConfig{Kinds: []transport.Kind{transport.Out}, Drain: true})
			if err == nil {
				defer w.Close()
				_, err = w.Next(t.Context())
			}
			return err
		}},
		{apiPrefix + "INFO", func() error {
			b, err := Connect(t.Context(), Config{URL: s.ClientURL(), Role: RoleWorker, Login: Login{User: "worker", Password: "pa55word"}})
			if err == nil {
				b.Close()
			}
			return err
		}},
	} {
		reload(t, s, guard(o, map[Role]string{RoleWorker: c.missing}))
		err := c.do()
		for errors.Is(err, transport.ErrUnreachable) && !errors.Is(err, transport.ErrDenied) { // the connection that the reload cut
			err = c.do()
		}
		beginning := strings.TrimSuffix(strings.TrimSuffix(c.missing, ".>"), ".*")
		if !errors.Is(err, transport.ErrDenied) || !strings.Contains(fmt.Sprint(err), beginning) || !strings.Contains(err.Error(), "[E-permission]") {
			t.Errorf("%d without %s: %v", sequence, c.missing, err)
		}
		reload(t, s, guard(o, nil))
		if err := c.do(); err != nil && c.missing != "mp.p.kpi.>" {
			t.Errorf("%s is back: %v", c.missing, err)
		}
		if err := again(); err != nil {
			t.Error(err)
		}
	}
	put(t, worker["kpi"], "kpi", 3)
	reads(t, worker["read"], "read")
}
