package schemas

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrDocs says that event data is not the documents its content type announces.
var ErrDocs = errors.New("corrupt documents")

// EncodeDocs writes documents as event data: one as it is (ContentJSON), several, or none, as a JSON array (ContentDocs).
// Each must be valid JSON; it is not looked at nor changed.
func EncodeDocs(docs []json.RawMessage) (data []byte, contentType string) {
	if len(docs) == 1 {
		return docs[0], ContentJSON
	}
	size := 2
	for _, d := range docs {
		size += len(d) + 1
	}
	data = append(make([]byte, 0, size), '[')
	for i, d := range docs {
		if i > 0 {
			data = append(data, ',')
		}
		data = append(data, d...)
	}
	return append(data, ']'), ContentDocs
}

// DecodeDocs reads what EncodeDocs wrote; the documents point into data or are copies. Anything else wraps ErrDocs.
func DecodeDocs(data []byte, contentType string) ([]json.RawMessage, error) {
	switch contentType {
	case ContentJSON:
		if !json.Valid(data) {
			return nil, fmt.Errorf("%w: %d bytes of %s are not JSON", ErrDocs, len(data), contentType)
		}
		return []json.RawMessage{data}, nil
	case ContentDocs:
		var docs []json.RawMessage
		if err := json.Unmarshal(data, &docs); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDocs, err)
		}
		if docs == nil {
			return nil, fmt.Errorf("%w: null where an array of documents belongs", ErrDocs)
		}
		return docs, nil
	}
	return nil, fmt.Errorf("%w: content type %q is not that of documents", ErrDocs, contentType)
}
