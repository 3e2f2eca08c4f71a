package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/milepost-dev/milepost/transport"
)

// Codes of the server's answers to an append (nats-server, server/errors.json).
const (
	codeWrongLast         = 10071 // the last record under the prefix is another
	codeWrongLastConstant = 10164 // the same, found while another append with the same expectation is on its way to replicas
	codeStoreFailed       = 10077 // among others: the stream's MaxBytes with DiscardNew
	codeNoLeader          = 10008 // of the cluster, yet
	codeNoResources       = 10023 // the server's
	codeNoStorage         = 10047 // the account's storage is used up
	codeMessageTooLarge   = 10054
	codeHeaderTooLarge    = 10097
)

// appendError is what the server's refusal of an append means. A code that is not known here leaves the outcome open.
func appendError(e *jetstream.APIError) error {
	kind := transport.ErrUnknown
	switch e.ErrorCode {
	case codeWrongLast, codeWrongLastConstant:
		kind = transport.ErrStale
	case codeNoResources, codeNoStorage:
		kind = transport.ErrFull
	case codeMessageTooLarge, codeHeaderTooLarge:
		kind = transport.ErrTooLarge
	case codeStoreFailed:
		if strings.Contains(e.Description, "maximum bytes") || strings.Contains(e.Description, "maximum messages") {
			kind = transport.ErrFull
		}
	}
	return fmt.Errorf("%w (%w)", kind, e)
}

// sendError is what an error of the client means for an append that may have been sent.
func sendError(err error) error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w (%w)", transport.ErrTooLarge, err)
	}
	return fmt.Errorf("%w (%w)", transport.ErrUnknown, err)
}

// unreachable is what the error of a request that reads means: the end of ctx or of the Broker, or a server that does not answer.
func (b *Broker) unreachable(ctx context.Context, err error) error {
	if errors.Is(err, transport.ErrDenied) {
		return err
	}
	if e := b.check(ctx); e != nil {
		return e
	}
	return fmt.Errorf("%w at %s (%w)", transport.ErrUnreachable, b.address, err)
}

// apiError is the same for a call of the client's JetStream interface, whose refusals stay what they are.
func (b *Broker) apiError(ctx context.Context, err error) error {
	var refused *jetstream.APIError
	if err = whyEnded(ctx, err); errors.As(err, &refused) || errors.Is(err, transport.ErrDenied) {
		return err
	}
	if passing(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrConnectionClosed) || b.check(ctx) != nil {
		return b.unreachable(ctx, err)
	}
	return err
}
