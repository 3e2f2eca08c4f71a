package pipeline

import "errors"

// ErrStale is returned by Sink.Commit when the store's cursor is not the one the caller began with: another process wrote.
var ErrStale = errors.New("another process wrote to this store")

// Permanent marks an error that no retry can help: the input goes to the dead letters at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// IsPermanent says whether err, or one it wraps, was marked by Permanent.
func IsPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
}

type permanent struct{ err error }

func (p permanent) Error() string { return p.err.Error() }
func (p permanent) Unwrap() error { return p.err }
