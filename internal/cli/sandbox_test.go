package cli

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// What the stand-in posts reaches this machine and no other, also where a redirect leads
// there.
func TestHereAlone(t *testing.T) {
	here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://192.0.2.2:9/", http.StatusTemporaryRedirect)
		}
	}))
	defer here.Close()
	c := hereAlone()
	defer c.CloseIdleConnections()
	c.Timeout = time.Second // of one that goes there all the same
	for url, want := range map[string]error{here.URL: nil, here.URL + "/away": errOther, "http://192.0.2.2:9/": errOther} {
		resp, err := c.Post(url, "text/plain", strings.NewReader("a text"))
		if err == nil {
			resp.Body.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", url, err, want)
		}
	}
}
