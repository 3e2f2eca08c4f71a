//go:build containers || local

package containers

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
)

// get is the body at an address that answers 200.
func get(ctx context.Context, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", url, answer.Status, body)
	}
	return string(body), err
}

var metric = regexp.MustCompile(`\b(milepost|process|go)_[a-z0-9_]+`)

func metricNames(expr string) []string { return metric.FindAllString(expr, -1) }
