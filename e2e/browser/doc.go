// Package browser tests the dashboard in a real Chromium, against the built binary over the sample recordings and a damaged
// one. Its tests stand behind the build tag browser: `make e2e-browser`.
package browser
