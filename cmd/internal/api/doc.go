// Package api is the HTTP API of a running milepost: what the dashboard and the other commands read and order. Server answers
// it beside the dashboard's pages, Client asks it.
//
// Every page's stream sends the answers of GET addresses, by name; so a figure on a page is the API's by construction.
package api
