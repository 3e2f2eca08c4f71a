package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/milepost-dev/milepost/schemas"
)

// A dead letter without its event's data says where that lies.
func TestALetterSaysWhereItsEventLies(t *testing.T) {
	d := detailOf(Letter{ID: "d-pass-9"}, schemas.DeadLetter{Event: json.RawMessage(`{"id":"j-1/read/2","traceparent":"00-a-b-01","datacontenttype":"application/json"}`),
		Left: &schemas.EventPlace{Pipeline: "p", ID: "j-1/read/2", Position: 7, Bytes: 8_000_000}})
	if !strings.Contains(d.Damage, "8000000 bytes") || !strings.Contains(d.Damage, "j-1/read/2 in pipeline p, position 7") || d.Trace != "00-a-b-01" {
		t.Errorf("%+v", d)
	}
}
