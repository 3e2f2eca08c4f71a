// Package containers runs whole pipelines on a NATS server and a Kafka broker that are containers (`make e2e-containers`), or, the
// same cases, processes (`make e2e-local`), and compares every byte of what comes out with a run on embedded JetStream. On
// containers the worker is one too: the image as it is shipped, as nobody, with a read-only root.
//
// Images are named by variables: NATS_IMAGE, KAFKA_IMAGE, MILEPOST_IMAGE (`make image`). Where no registry can be reached,
// e2e/containers/images builds the first two out of what the machine has.
package containers
