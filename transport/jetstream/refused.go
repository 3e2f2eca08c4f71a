package jetstream

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/milepost-dev/milepost/transport"
)

// A DeniedError says that the server does not let this user publish or subscribe to a subject. It is transport.ErrDenied.
type DeniedError struct {
	Verb    string // publish or subscribe
	Subject string
}

// Error names the subject, and what is to be given to the user.
func (e *DeniedError) Error() string {
	return fmt.Sprintf("%v: no permission to %s to %q [E-permission]\n  next: %s", transport.ErrDenied, e.Verb, e.Subject, e.next())
}

func (e *DeniedError) next() string {
	return fmt.Sprintf("give the user %s = { allow: [%q] }; milepost doctor --permissions prints all that a role needs", e.Verb, grantFor(e.Verb, e.Subject))
}

// Is says that it is transport.ErrDenied.
func (e *DeniedError) Is(target error) bool { return target == transport.ErrDenied }

// grantFor is the entry of a permission list that the subject falls under, as Grants has it: jobs, kinds and names of consumers vary.
func grantFor(verb, subject string) string {
	t := strings.Split(subject, ".")
	switch {
	case verb == "subscribe":
		return strings.Join(t[:min(len(t), 2)], ".") + ".>"
	case t[0] == root && len(t) > 3:
		return strings.Join(t[:3], ".") + ".>"
	case strings.HasPrefix(subject, apiPrefix+"CONSUMER.") && len(t) > 5:
		k, rest := 5, ".*"
		switch t[3] {
		case "MSG":
			k = 6
		case "CREATE":
			rest = ".>"
		}
		return strings.Join(t[:min(k, len(t))], ".") + rest
	case strings.HasPrefix(subject, ackPrefix) && len(t) > 3:
		return strings.Join(t[:3], ".") + ".>"
	}
	return subject
}

var violation = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "(\S+?)"`)

// deniedBy reads the server's word about a refused subject; nil when it is about anything else.
func deniedBy(err error) *DeniedError {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	m := violation.FindStringSubmatch(err.Error())
	if m == nil {
		return nil
	}
	if strings.EqualFold(m[1], "publish") {
		return &DeniedError{Verb: "publish", Subject: m[2]}
	}
	return &DeniedError{Verb: "subscribe", Subject: m[2]}
}

// refusals hand the server's refusals to those who wait for an answer: it refuses a subject by a word of its own on the connection,
// and the request would go on waiting until its time is over.
type refusals struct {
	mu      sync.Mutex
	waiting map[*waiter]struct{}
	told    map[string]time.Time // by verb and grant: when it was logged
}

type waiter struct {
	subject string // of the request, or
	stream  string // the stream whose administration is asked for; "": the account
	once    bool   // it is for one answer, which does not come when the connection is lost
	cancel  context.CancelCauseFunc
}

// wait is a context that ends with a *DeniedError as its cause when the server refuses the subject, or inbox.
func (r *refusals) wait(ctx context.Context, w *waiter) (context.Context, func()) {
	ctx, w.cancel = context.WithCancelCause(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = map[*waiter]struct{}{}
	}
	r.waiting[w] = struct{}{}
	return ctx, func() {
		w.cancel(nil)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.waiting, w)
	}
}

// deniedEvery is how often the same missing permission is logged.
const deniedEvery = 30 * time.Second

// tell ends the waits that the refusal is about, and says whether it is to be logged: not again and again.
func (r *refusals) tell(e *DeniedError, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.waiting {
		if w.concerns(e) {
			w.cancel(e)
		}
	}
	key := e.Verb + " " + grantFor(e.Verb, e.Subject)
	if now.Sub(r.told[key]) < deniedEvery {
		return false
	}
	if r.told == nil {
		r.told = map[string]time.Time{}
	}
	r.told[key] = now
	return true
}

// lost ends the waits for answers: the connection on which they would come is gone.
func (r *refusals) lost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.waiting {
		if w.once {
			w.cancel(nats.ErrDisconnected)
		}
	}
}

func (w *waiter) concerns(e *DeniedError) bool {
	if e.Verb == "subscribe" {
		return strings.HasPrefix(e.Subject, inboxRoot) // without an inbox nobody is answered
	}
	if w.subject != "" {
		return w.subject == e.Subject
	}
	rest, api := strings.CutPrefix(e.Subject, apiPrefix)
	return api && (rest == "INFO") == (w.stream == "") && (w.stream == "" || strings.Contains(rest+".", "."+w.stream+"."))
}

// whyEnded is why ctx was ended while something was waited for, if it has a cause of its own, or else err.
func whyEnded(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil && cause != ctx.Err() {
		return cause
	}
	return err
}

// limitAPI is limit for a call of the client's JetStream interface about a stream, or about the account ("").
func (b *Broker) limitAPI(ctx context.Context, stream string) (context.Context, func()) {
	limited, cancel := b.limit(ctx)
	waiting, done := b.refused.wait(limited, &waiter{stream: stream, once: stream != ""})
	return waiting, func() { done(); cancel() }
}

// request sends a message and waits for the answer, the server's refusal or the end of the connection (nats.ErrDisconnected).
func (b *Broker) request(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	waiting, done := b.refused.wait(ctx, &waiter{subject: m.Subject, once: true})
	defer done()
	answer, err := b.nc.RequestMsgWithContext(waiting, m)
	return answer, whyEnded(waiting, err)
}
