//go:build !unix

package history

import "time"

// monotonic is the clock on the wall where there is no other that processes share.
func monotonic() int64 { return time.Now().UnixNano() }
