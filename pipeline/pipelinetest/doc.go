// Package pipelinetest is how a stage is accepted: suites that cut it wherever the engine could be killed, and compare.
//
//	Run            a processor over tables written as text; what the author of a stage starts with
//	TestProcessor  the suite of processors and analyses, over batches
//	TestReader     the suite of readers, over one item
//	TestSink       the suite of sinks, over a store that is opened again and again
//
// Outputs are compared as bytes on the wire, so a stage that forgets state, walks a map or asks a clock is found. No suite
// needs a broker, sleeps or looks at a clock.
package pipelinetest
