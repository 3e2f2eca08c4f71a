package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// A proxy is a way to a server that can be cut.
type proxy struct {
	*toxiproxy.Proxy
	toxics int
}

// proxies makes them.
type proxies struct{ server *toxiproxy.ApiServer }

func newProxies() *proxies {
	return &proxies{toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())}
}

// to opens a way to an address.
func (p *proxies) to(name, address string) (*proxy, error) {
	w := &proxy{Proxy: toxiproxy.NewProxy(p.server, name, "127.0.0.1:0", address)}
	if err := w.Start(); err != nil {
		return nil, fmt.Errorf("proxy to %s: %w", address, err)
	}
	return w, nil
}

// poison adds a toxic and returns what takes it away again.
func (w *proxy) poison(kind, stream, attributes string) (cure func(), err error) {
	w.toxics++
	name := fmt.Sprintf("%s-%d", kind, w.toxics)
	_, err = w.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"toxicity":1,"attributes":%s}`, name, kind, stream, attributes)))
	if err != nil {
		return nil, err
	}
	return func() { _ = w.Toxics.RemoveToxic(context.Background(), name) }, nil
}

// cut closes the way, with all who are on it; join opens it again.
func (w *proxy) cut() { w.Stop() }

func (w *proxy) join() error {
	if w.Enabled {
		return nil
	}
	return w.Start()
}

// blows are what can be done on the ways of the workers to their servers. Toxics are taken off one way after another, and what
// was on a way whose toxic drops data is cut off then: it must not go on as if nothing had been lost.
func cuts(ways []*proxy) []blow {
	toxic := func(kind, stream, attributes string, least, most time.Duration) func(context.Context, *rand.Rand) error {
		return func(ctx context.Context, rng *rand.Rand) error {
			for _, w := range ways {
				cure, err := w.poison(kind, stream, attributes)
				if err != nil {
					return err
				}
				defer cure()
			}
			return pause(ctx, between(rng, least, most))
		}
	}
	return []blow{
		{"answers are lost, then the connection", 3, toxic("timeout", "downstream", `{"timeout":0}`, 200*time.Millisecond, 1500*time.Millisecond)},
		{"requests are lost, then the connection", 1, toxic("timeout", "upstream", `{"timeout":0}`, 200*time.Millisecond, 1500*time.Millisecond)},
		{"connections are cut in the middle of what is said", 2, toxic("limit_data", "downstream", `{"bytes":20000}`, 500*time.Millisecond, 2*time.Second)},
		{"answers come late", 2, toxic("latency", "downstream", `{"latency":150,"jitter":120}`, time.Second, 3*time.Second)},
		{"half-open connections", 1, func(ctx context.Context, rng *rand.Rand) error {
			for _, w := range ways {
				for _, stream := range []string{"upstream", "downstream"} {
					cure, err := w.poison("timeout", stream, `{"timeout":0}`)
					if err != nil {
						return err
					}
					defer cure()
				}
			}
			return pause(ctx, between(rng, 4*time.Second, 7*time.Second))
		}},
		{"nobody reaches a server", 2, func(ctx context.Context, rng *rand.Rand) error {
			for _, w := range ways {
				w.cut()
			}
			err := pause(ctx, between(rng, 200*time.Millisecond, 3*time.Second))
			for _, w := range ways {
				if e := w.join(); e != nil && err == nil {
					err = e
				}
			}
			return err
		}},
	}
}
