package transport

import "errors"

// What a driver's errors make the caller do; drivers wrap them with the broker's own words.
var (
	ErrStale       = errors.New("another process wrote to this chain")           // drop the instance, open again
	ErrUnknown     = errors.New("the broker did not say whether it stored this") // open again and look
	ErrFull        = errors.New("the log is full")                               // wait for consumers, then again
	ErrGone        = errors.New("the position was removed from the log")         // a bug in trimming, or a foreign purge: give up
	ErrLost        = errors.New("the log lost events that it had stored")        // its disk forgot: find the place by sequence
	ErrTooLarge    = errors.New("the event is larger than the broker takes")     // permanent
	ErrUnreachable = errors.New("the broker cannot be reached")                  // exit code 3 at start, retry later
	ErrDenied      = errors.New("the broker does not permit this")               // names what is missing; at start give up, else again
	ErrClosed      = errors.New("the broker was closed")                         // by this process; stop
	ErrNeedsBody   = errors.New("the cursor stands in the body")                 // of Message.Decode: fetch the whole record
)
