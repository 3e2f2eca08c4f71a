package cmd

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// What a server has to take and be.
const (
	leastPayload = 512 << 10       // bytes of a message: slices are cut at 256 KiB, and one that is not to be cut is larger
	mostOffset   = 2 * time.Second // of clocks: a worker's silence is measured by the server's
	nearlyFull   = 0.8             // of a limit
)

// nats looks at a server that answered.
func (d *examination) nats(ctx context.Context, b *jetstream.Broker, role jetstream.Role) {
	n := d.spec.Transport.NATS
	account, err := b.Account(ctx)
	if err != nil {
		text, fix := adviceIn(err)
		d.add(wrong, "transport", fix, "%s", text)
		return
	}
	d.add(fine, "transport", "", "%s  server %s  JetStream on, replicas %d", b.Describe().Address, account.Version, n.Replicas)
	d.cluster(&account, n.Replicas)
	if account.MaxPayload < leastPayload {
		d.add(wrong, "limits", "max_payload: 1MB in the server's configuration", "the server takes messages of %s, events are up to %s and more", bytesText(int64(account.MaxPayload)), bytesText(256<<10))
	} else {
		d.add(fine, "limits", "", "messages of %s", bytesText(int64(account.MaxPayload)))
	}
	d.permissions(ctx, role)
	d.logs(ctx, b, &account)
}

func (d *examination) cluster(a *jetstream.Account, replicas int) {
	switch {
	case replicas > 1 && a.Cluster == "":
		d.add(wrong, "cluster", "transport.nats.replicas: 1, or a cluster of "+fmt.Sprint(replicas)+" servers", "replicas are %d, and the server stands alone", replicas)
	case replicas > a.Servers && a.Cluster != "":
		d.add(doubt, "cluster", "", "replicas are %d, and %s of cluster %s are known: others may not tell their addresses", replicas, plural(a.Servers, "server"), a.Cluster)
	case a.Cluster != "" && replicas == 1:
		d.add(doubt, "cluster", "transport.nats.replicas: 3", "cluster %s, but each log has one copy: the loss of its server stops the run", a.Cluster)
	}
}

// permissions tries all that the role needs.
func (d *examination) permissions(ctx context.Context, role jetstream.Role) {
	n := d.spec.Transport.NATS
	c, err := natsConfig(n)
	if err == nil {
		c.Role = role
		var missing []*jetstream.DeniedError
		if missing, err = jetstream.Missing(ctx, c, grantOf(d.spec, role, d.flags)); err == nil {
			d.missing(role, missing)
			return
		}
	}
	d.add(doubt, "permissions", "", "they could not be tried: %v", err)
}

func (d *examination) missing(role jetstream.Role, missing []*jetstream.DeniedError) {
	slices.SortStableFunc(missing, func(a, b *jetstream.DeniedError) int { return strings.Compare(b.Verb, a.Verb) }) // the inbox first
	var subjects []string
	for _, m := range missing {
		subjects = append(subjects, m.Verb+" "+m.Subject)
	}
	d.denied(role, subjects)
}

// logs looks at the streams that are there, at room for those that are not, and by what they say at the server's clock.
func (d *examination) logs(ctx context.Context, b *jetstream.Broker, a *jetstream.Account) {
	uses := engine.Uses(d.spec, engine.Part{Owner: true})
	there, failed := 0, false
	var clock *jetstream.LogState
	for _, u := range uses {
		s, err := b.LogState(ctx, u.Pipeline, u.Stage)
		if err != nil {
			d.add(wrong, "stream", "milepost doctor --permissions", "%s/%s: %v", u.Pipeline, u.Stage, err)
			return
		}
		if s == nil {
			continue
		}
		there++
		if clock == nil || s.RoundTrip < clock.RoundTrip {
			clock = s
		}
		failed = d.stream(u, s) || failed
	}
	d.storage(a, len(uses)-there)
	if !failed {
		rest := ""
		if there < len(uses) {
			rest = ", the rest is made by milepost run"
		}
		d.add(fine, "streams", "", "%d of %d are there%s", there, len(uses), rest)
	}
	switch {
	case clock == nil:
		d.add(fine, "clock", "", "the server's is not known before the first run")
	case clock.Offset.Abs() > mostOffset+clock.RoundTrip:
		d.add(wrong, "clock", "set both by NTP: systemctl enable --now systemd-timesyncd", "the server's is %s off", clock.Offset.Round(time.Millisecond))
	default:
		d.add(fine, "clock", "", "offset %s", clock.Offset.Round(time.Millisecond))
	}
}

// stream says whether something is wrong with one.
func (d *examination) stream(u transport.LogUse, s *jetstream.LogState) bool {
	n := d.spec.Transport.NATS
	name := u.Pipeline + "/" + u.Stage
	switch {
	case s.MaxBytes > 0 && float64(s.Bytes) > nearlyFull*float64(s.MaxBytes):
		d.add(wrong, "stream", fmt.Sprintf("transport.nats.limits.max_bytes: %dMB", 2*s.MaxBytes/1_000_000+1), "%s holds %s of %s", name, bytesText(s.Bytes), bytesText(s.MaxBytes))
	case len(s.Behind) > 0:
		d.add(wrong, "stream", "start the servers, or wait until they have caught up", "%s: replicas on %s are away or behind", name, strings.Join(s.Behind, ", "))
	case s.Replicas < n.Replicas:
		d.add(doubt, "stream", "milepost run widens it", "%s has %d of %d replicas", name, s.Replicas, n.Replicas)
	default:
		return false
	}
	return true
}

// storage says whether the account has room for what is still to be made.
func (d *examination) storage(a *jetstream.Account, toMake int) {
	switch {
	case a.MaxStreams >= 0 && a.Streams+toMake > a.MaxStreams:
		d.add(wrong, "storage", fmt.Sprintf("raise the account's max_streams to %d", a.Streams+toMake), "the account may have %d streams, has %d, and %d are to be made", a.MaxStreams, a.Streams, toMake)
	case a.MaxStore > 0 && float64(a.Store) > nearlyFull*float64(a.MaxStore):
		d.add(wrong, "storage", "raise the account's max_file, or dlq purge and remove old pipelines", "the account holds %s of %s", bytesText(a.Store), bytesText(a.MaxStore))
	default:
		d.add(fine, "storage", "", "%s stored%s", bytesText(a.Store), limitText(a.MaxStore))
	}
}

func limitText(n int64) string {
	if n <= 0 {
		return ""
	}
	return " of " + bytesText(n)
}
