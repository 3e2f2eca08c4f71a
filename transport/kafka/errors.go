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
		return fmt.Errorf("%w (%w)", transport.ErrTooLarge, b.advise(err))
	case errors.Is(err, transport.ErrClosed):
		return err
	case slices.ContainsFunc(refusals, func(r error) bool { return errors.Is(err, r) }):
		return b.advise(err) // nothing is stored, and nothing will be until somebody changes it
	}
	return fmt.Errorf("%w (%w)", transport.ErrUnknown, b.advise(err))
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

// advise adds to a refusal of the broker what to change.
func (b *Broker) advise(err error) error {
	var advice string
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		advice = "allow the user READ, WRITE and DESCRIBE on topics with the prefix " + b.config.Prefix
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		advice = "allow the user WRITE and DESCRIBE on transactional ids with the prefix " + b.config.Prefix
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		advice = "allow the user READ on groups with the prefix " + b.config.Prefix
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		advice = "allow the user IDEMPOTENT_WRITE on the cluster"
	case errors.Is(err, kerr.MessageTooLarge):
		advice = fmt.Sprintf("set max.message.bytes of the topic, and message.max.bytes of the brokers, to %d at least, or transport.kafka.max_message_bytes lower", b.config.MaxMessageBytes)
	case errors.Is(err, kerr.InvalidTimestamp):
		advice = "set the clock of this machine, or message.timestamp.type=LogAppendTime of the topic"
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		advice = "check user and password under transport.kafka.sasl"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		advice = "name a mechanism under transport.kafka.sasl that the broker offers"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, advice)
}
