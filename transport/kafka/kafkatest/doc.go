// Package kafkatest runs a real Apache Kafka broker for tests: one process, KRaft, on loopback, from the jars that Maven
// resolves. What is claimed of the Kafka driver is claimed from here; a fake broker commits no transactions.
package kafkatest
