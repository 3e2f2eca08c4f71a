// Package pipeline is the contract that the author of a stage imports: what a stage sees, what it may do, how it is listed.
//
// A stage is a deterministic state machine: batches in, batches out, state as bytes. It knows no broker, no clock and no
// goroutine that outlives a call; the engine owns the loop. A stage is declared once as a value (ReaderType, ProcessorType,
// SinkType) and put into a Registry; completion, defaults, `stages describe` and the JSON Schema come from that value.
package pipeline
