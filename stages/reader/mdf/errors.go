package mdf

import (
	"errors"
	"fmt"
	"io"
)

var (
	// ErrNotMDF is returned by Open and NewFile for input that is no MDF file at all.
	ErrNotMDF = errors.New("not an MDF file")
	// ErrNotRegular is wrapped by the *fs.PathError with which Open refuses a pipe, a device or a folder.
	ErrNotRegular = errors.New("not a regular file")
	// ErrOldVersion is returned for MDF 2 and 3 files, whose structure has nothing in common with MDF 4.
	ErrOldVersion = errors.New("MDF version is not supported")
	// ErrUnsupported is wrapped by errors on parts of MDF 4 that this package does not decode.
	ErrUnsupported = errors.New("not supported")
	// ErrClosed is returned by calls on a closed reader or Writer, and wrapped by errors of readers whose File was closed.
	ErrClosed = errors.New("mdf: already closed")
	// ErrLimit is wrapped by errors on input that is well-formed but needs more than Options allow.
	ErrLimit = errors.New("limit exceeded")
)

// A FormatError says where a file breaks the MDF 4 format. When the file merely ends too early, Err is
// io.ErrUnexpectedEOF, so errors.Is tells a truncated file from a wrong one.
type FormatError struct {
	Offset int64  // byte offset in the file of the block that is wrong
	Block  string // block id such as "##DZ"; empty when no block can be named
	Msg    string // what is wrong, continuing "block X ..."
	Err    error  // cause, may be nil
}

// Error gives one line with offset (hexadecimal and decimal), block and cause.
func (e *FormatError) Error() string {
	s := fmt.Sprintf("corrupt MF4 at offset %#x (%d): ", e.Offset, e.Offset)
	if e.Block != "" {
		s += fmt.Sprintf("block %q ", e.Block)
	}
	s += e.Msg
	if e.Err != nil && e.Err != io.ErrUnexpectedEOF {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *FormatError) Unwrap() error { return e.Err }

func corrupt(off int64, block, format string, args ...any) *FormatError {
	return &FormatError{Offset: off, Block: block, Msg: fmt.Sprintf(format, args...)}
}

// truncated is corrupt for a block that is longer than what is left of the file.
func truncated(off int64, block string, declared, have int64) *FormatError {
	e := corrupt(off, block, "says %d bytes, file ends after %d", declared, have)
	e.Err = io.ErrUnexpectedEOF
	return e
}
