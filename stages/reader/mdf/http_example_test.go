package mdf_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// A rangeReader reads a file on a server, piece by piece, with HTTP range requests. It implements io.ReaderAt. One for an object
// store looks the same, with its client's call for a range.
type rangeReader struct {
	client *http.Client
	url    string
	size   int64
}

func newRangeReader(client *http.Client, url string) (*rangeReader, error) {
	r, err := client.Head(url)
	if err != nil {
		return nil, err
	}
	r.Body.Close()
	if r.StatusCode != http.StatusOK || r.ContentLength < 0 {
		return nil, fmt.Errorf("HEAD %s: %s, %d bytes", url, r.Status, r.ContentLength)
	}
	return &rangeReader{client, url, r.ContentLength}, nil
}

func (r *rangeReader) ReadAt(p []byte, off int64) (int, error) {
	if off >= r.size {
		return 0, io.EOF
	}
	req, err := http.NewRequest(http.MethodGet, r.url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, min(off+int64(len(p)), r.size)-1))
	res, err := r.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusPartialContent {
		return 0, fmt.Errorf("GET %s: %s", r.url, res.Status)
	}
	n, err := io.ReadFull(res.Body, p[:min(int64(len(p)), r.size-off)])
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// A recording on a server is read like one on disk: what is asked for is fetched, and nothing else.
func ExampleNewFile() {
	path, remove := drive()
	defer remove()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) }))
	defer server.Close()

	remote, err := newRangeReader(server.Client(), server.URL+"/drive.mf4")
	if err != nil {
		log.Fatal(err)
	}
	f, err := mdf.NewFile(remote, remote.size)
	if err != nil {
		log.Fatal(err)
	}
	g := f.Group("ego")
	r, err := g.Read(mdf.ReadOptions{ColumnsOnly: true}, g.Channel("speed", 0))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	if err := r.SeekTime(context.Background(), 0.3); err != nil {
		log.Fatal(err)
	}
	b, err := r.Next(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.Times, b.Columns[0].Values)
	// Output:
	// [0.4 0.6] [51 50.75]
}
