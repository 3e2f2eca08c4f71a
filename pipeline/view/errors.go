package view

import "errors"

// Errors of queries; they are wrapped with what was asked for.
var (
	ErrNotFound  = errors.New("not in the results") // no such job, signal or document
	ErrAmbiguous = errors.New("names several signals")
	ErrNoStore   = errors.New("this process has no result store: sink/dashboard runs only where the dashboard is served")
)
