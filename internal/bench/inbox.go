package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/net/webdav"
)

// An inbox is a WebDAV folder in memory, for those who can only upload.
type inbox struct {
	folder            webdav.FileSystem
	handler           webdav.Handler
	requests, uploads atomic.Int64
}

func newInbox() *inbox {
	in := &inbox{folder: webdav.NewMemFS()}
	in.handler = webdav.Handler{Prefix: "/inbox", FileSystem: in.folder, LockSystem: webdav.NewMemLS()}
	return in
}

func (in *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in.requests.Add(1)
	if r.Method == http.MethodPut {
		in.uploads.Add(1)
	}
	in.handler.ServeHTTP(w, r)
}

// arrived are the digests of what is there, by the scans' names without extension.
func (in *inbox) arrived(ctx context.Context) (map[string]string, error) {
	dir, err := in.folder.OpenFile(ctx, "/", os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := dir.Readdir(-1)
	if err != nil {
		return nil, err
	}
	there := map[string]string{}
	for _, e := range entries {
		f, err := in.folder.OpenFile(ctx, "/"+e.Name(), os.O_RDONLY, 0)
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		there[strings.TrimSuffix(e.Name(), ".gif")] = digest(content)
	}
	return there, nil
}
