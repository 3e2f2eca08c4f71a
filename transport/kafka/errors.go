package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/milepost-dev/milepost/transport"
)

// fencing are the answers that say that another process has taken the epoch: nothing of the transaction is stored, or will be.
var fencing = []error{kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidProducerIDMapping, kerr.InvalidTxnState}

// refusals are the answers of a broker that does not let us.
var refusals = []error{kerr.TopicAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed, kerr.ClusterAuthorizationFailed,
	kerr.SaslAuthenticationFailed, kerr.UnknownTopicOrPartition, kerr.InvalidTimestamp}

// produceError is what the error of a transaction means that was not ended.
func (b *Broker) produceError(err error) error {
	for _, fenced := range fencing {
		if errors.Is(err, fenced) {
			return fmt.Errorf("%w (%w)", transport.ErrStale, err)
		}
	}
	switch {
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("%w (%w)%s", transport.ErrTooLarge, err, b.advice(err))
	case errors.Is(err, transport.ErrClosed):
		return err
	case slices.ContainsFunc(refusals, func(r error) bool { return errors.Is(err, r) }):
		return b.advise(err) // nothing is stored, and nothing will be until somebody changes it
	}
	return fmt.Errorf("%w (%w)%s", transport.ErrUnknown, err, b.advice(err))
}

// fetchError is what an error of reading means.
func (b *Broker) fetchError(ctx context.Context, err error) error {
	switch {
	case b.check(ctx) != nil:
		return b.check(ctx)
	case errors.Is(err, kerr.OffsetOutOfRange):
		return fmt.Errorf("%w (%w)", transport.ErrGone, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w at %s (%w)", transport.ErrUnreachable, b.address(), err)
	}
	return b.advise(err)
}

// denials are those of refusals that an administrator ends by giving a right.
var denials = []error{kerr.TopicAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed}

// advise adds to a refusal of the broker what to change. One for want of a right is ErrDenied.
func (b *Broker) advise(err error) error {
	switch next := b.advice(err); {
	case next == "":
		return err
	case slices.ContainsFunc(denials, func(d error) bool { return errors.Is(err, d) }):
		return fmt.Errorf("%w (%w) [E-permission]%s", transport.ErrDenied, err, next)
	default:
		return fmt.Errorf("%w%s", err, next)
	}
}

// advice is the line that says what to change, "" where that is not known.
func (b *Broker) advice(err error) string {
	var next string
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		next = "allow the user READ, WRITE and DESCRIBE on topics with the prefix " + b.config.Prefix
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		next = "allow the user WRITE and DESCRIBE on transactional ids with the prefix " + b.config.Prefix
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		next = "allow the user READ on groups with the prefix " + b.config.Prefix
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		next = "allow the user IDEMPOTENT_WRITE on the cluster"
	case errors.Is(err, kerr.MessageTooLarge):
		next = fmt.Sprintf("set max.message.bytes of the topic, and message.max.bytes of the brokers, to %d at least, or transport.kafka.max_message_bytes lower", b.config.MaxMessageBytes)
	case errors.Is(err, kerr.InvalidTimestamp):
		next = "set the clock of this machine, or message.timestamp.type=LogAppendTime of the topic"
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		next = "check user and password under transport.kafka.sasl"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		next = "name a mechanism under transport.kafka.sasl that the broker offers"
	default:
		return ""
	}
	return "\n  next: " + next
}
