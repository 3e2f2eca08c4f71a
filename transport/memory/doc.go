// Package memory is a transport.Broker in the memory of one process, for tests of engines and stages.
//
// It keeps what a real broker promises and nothing more: the fence, durable consumers that hand out again what nobody
// acked in time, trimming, a log that is full. What goes wrong on a real broker can be made to: appends whose answer is
// lost, acks that are forgotten, a stream that comes again (OnAppend, OnAck, Redeliver). Time is a Clock, so that a test
// lets it pass instead of sleeping. Several Brokers on one store are several processes (Client), and a store outlives
// the Brokers on it.
package memory
