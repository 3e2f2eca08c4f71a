// Package schemas is the wire: identifiers, cursors, event types and attributes, tables, and what a control event holds.
//
// Everything that two processes of a pipeline have to agree on stands here and nowhere else. The package imports nothing
// of ours; arrowipc beside it turns tables into event data and back.
package schemas
