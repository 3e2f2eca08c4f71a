// Package spec turns pipelines.yaml into a checked Spec.
//
// Load reads the files into trees that remember where every value stands, lays them over one another, replaces ${…}, decodes
// the trees strictly over the defaults, and resolves names, edges and event types. Every fault becomes a Problem with file,
// line and column, all of them at once; a Spec comes out only if there is no error. Nothing connects to anything here.
//
// The way of a file through the package, in order: parse.go (bytes to nodes), layer.go (files and --set), variables.go
// (${…}), decode.go (nodes to Go values by tags), resolve.go, edges.go, types.go (the graph), config.go (the stages' own
// configuration) and the transport (connect.go). render.go and identity.go go the other way. schema.go and describe.go tell
// editors and users what the same tags say; graph.go draws.
package spec
