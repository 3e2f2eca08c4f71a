package schemas

import (
	"encoding/json"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestDocsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		docs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) json.RawMessage {
			data, err := json.Marshal(rapid.OneOf(rapid.String().AsAny(), rapid.Int().AsAny(), rapid.SliceOf(rapid.Int()).AsAny(),
				rapid.MapOf(rapid.String(), rapid.Bool()).AsAny()).Draw(t, "value"))
			if err != nil {
				t.Fatal(err)
			}
			return data
		}), 0, 5).Draw(t, "docs")
		data, content := EncodeDocs(docs)
		if (content == ContentJSON) != (len(docs) == 1) || !json.Valid(data) {
			t.Fatalf("%d documents are %s: %s", len(docs), content, data)
		}
		got, err := DecodeDocs(data, content)
		if err != nil || len(got) != len(docs) {
			t.Fatalf("%d documents of %d (%v)", len(got), len(docs), err)
		}
		for i := range docs {
			if string(got[i]) != string(docs[i]) {
				t.Fatalf("document %d is %s, want %s", i, got[i], docs[i])
			}
		}
	})
}

func TestDecodeDocsRefuses(t *testing.T) {
	for _, c := range []struct{ data, content string }{
		{`{"a":`, ContentJSON}, {``, ContentJSON}, {`{} {}`, ContentJSON}, {`[1,`, ContentDocs}, {`{}`, ContentDocs}, {`null`, ContentDocs},
		{`[]x`, ContentDocs}, {`{}`, ContentArrow}, {`{}`, ""},
	} {
		if docs, err := DecodeDocs([]byte(c.data), c.content); !errors.Is(err, ErrDocs) {
			t.Errorf("%s as %s: %d documents, %v", c.data, c.content, len(docs), err)
		}
	}
}
