package job

import "errors"

// What callers test for.
var (
	ErrNoJob      = errors.New("no such job")
	ErrNotFailed  = errors.New("the job is not failed")
	ErrOver       = errors.New("the job is over")
	ErrNoFunction = errors.New("the job's events came out differently when they were computed again: it can only fail once more")
	ErrForeign    = errors.New("the job was made with another configuration of the pipeline: nobody would work on it")
)
