//go:build browser

package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// stream follows a page's event stream until seen says that it has seen enough.
func (p *process) stream(ctx context.Context, page string, seen func(sections map[string]any) bool) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/events?page="+page, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		var m struct{ Sections map[string]any }
		if !ok || json.Unmarshal([]byte(data), &m) != nil {
			continue
		}
		if seen(m.Sections) {
			return nil
		}
	}
	return fmt.Errorf("the stream of %s ended: %w; the process said\n%s", page, lines.Err(), p.out)
}
