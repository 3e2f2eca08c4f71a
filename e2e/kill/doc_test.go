// Package kill kills the built binary from outside, with SIGKILL by its pid at given counts of stored appends, starts it again
// on the same state, and compares every byte of what comes out with a run that nobody disturbed.
//
// The quick test over the repository's samples runs with every `go test ./...`; under the tag e2e (make e2e-kill) the same is
// done at 20 points over the shared recordings (ROADLOGS), and to workers and a nats-server outside the process.
//
// KILL_SEED chooses the drawn points again; the seed of each test is in its log.
package kill
