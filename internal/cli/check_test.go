package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scandrop/internal/cli"
)

// Services that misbehave, and what check makes of them: a service that cannot be
// used is wrong, with the way out; one that only tells less is not; a clock that is
// off is a warning.
func TestCheckAgainstServices(t *testing.T) {
	const list, balance = `{"data":[],"current_page":1,"last_page":1,"total":0}`, `{"balance":12,"token":"secret-token"}`
	type answer struct {
		status int
		typ    string
		body   string
		off    time.Duration // of its clock
		age    int           // seconds in a cache
	}
	fine := answer{200, "application/json", list, 0, 0}
	for name, tt := range map[string]struct {
		list, balance answer
		status        int
		want          []string // "what|problem|hint", of each some words
		never         string
	}{
		"all is well":           {fine, answer{200, "application/json", balance, 0, 0}, 0, []string{"balance 12 pages||", "clock||"}, "secret-token"},
		"no balance":            {fine, answer{404, "text/html", "<html>", 0, 0}, 0, []string{"does not tell||"}, ""},
		"balance of garbage":    {fine, answer{200, "application/json", `{"balance":{}`, 0, 0}, 0, []string{"does not tell||"}, ""},
		"nothing left":          {fine, answer{200, "application/json", `{"balance":0}`, 0, 0}, 1, []string{"balance|no pages|buy pages"}, ""},
		"a clock behind":        {answer{200, "application/json", list, time.Hour, 0}, fine, 0, []string{"clock|1 h 0 min behind the service's|NTP"}, ""},
		"a clock ahead":         {answer{200, "application/json", list, -26 * time.Hour, 0}, fine, 0, []string{"clock|26 h 0 min ahead of the service's|NTP"}, ""},
		"a clock off by little": {answer{200, "application/json", list, 2 * time.Minute, 0}, fine, 0, []string{"clock||"}, "warn"},
		"an answer of a cache":  {answer{200, "application/json", list, -time.Hour, 3600}, fine, 0, []string{"clock||"}, ""},
		"a token refused":       {answer{401, "application/json", `{"message":"Unauthenticated."}`, time.Hour, 0}, fine, 1, []string{"service|401|token", "clock|behind|"}, "balance"},
		"a login page":          {answer{200, "text/html", "<html>", 0, 0}, fine, 1, []string{"service|HTML|"}, "balance"},
		"a redirect":            {answer{302, "text/html", "", 0, 0}, fine, 1, []string{"service|302|api.url"}, ""},
		"garbage":               {answer{200, "application/json", `{"data":[`, 0, 0}, fine, 1, []string{"service||"}, ""},
		"down":                  {answer{503, "text/html", "<html>", 0, 0}, fine, 1, []string{"service|503|"}, ""},
		"another API":           {answer{404, "application/json", `{}`, 0, 0}, fine, 1, []string{"service|404|api.url"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet {
					t.Errorf("it was asked to %s %s", r.Method, r.URL)
				}
				a := tt.list
				if strings.HasSuffix(r.URL.Path, "/users/me") {
					a = tt.balance
				}
				w.Header().Set("Content-Type", a.typ)
				w.Header().Set("Date", time.Now().Add(a.off).UTC().Format(http.TimeFormat))
				if a.age > 0 {
					w.Header().Set("Age", fmt.Sprint(a.age))
				}
				if a.status == 302 {
					w.Header().Set("Location", "/login")
				}
				w.WriteHeader(a.status)
				fmt.Fprint(w, a.body)
			}))
			defer server.Close()
			dir := t.TempDir()
			conf := filepath.Join(dir, "c.yaml")
			text := fmt.Sprintf("api: {url: %q, token: secret-token}\nstate: state\nstatus: {listen: ''}\nfolders: [{path: .}]\n", server.URL+"/api/v2")
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, said bytes.Buffer
			status := cli.Main([]string{"check", "--json", "--config", conf}, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &said}, nil)
			if status != tt.status || said.Len() > 0 {
				t.Errorf("status %d, want %d; it said %q", status, tt.status, &said)
			}
			var findings []struct{ What, Problem, Hint string }
			if err := json.Unmarshal(out.Bytes(), &findings); err != nil {
				t.Fatal(err, &out)
			}
			for _, want := range tt.want {
				what, rest, _ := strings.Cut(want, "|")
				problem, hint, _ := strings.Cut(rest, "|")
				found := false
				for _, f := range findings {
					found = found || strings.Contains(f.What, what) && strings.Contains(f.Problem, problem) && strings.Contains(f.Hint, hint) && (problem+hint != "" || (f.Problem == "") == (what != "service"))
				}
				if !found {
					t.Errorf("no finding %q in\n%s", want, &out)
				}
			}
			if tt.never != "" && strings.Contains(out.String(), tt.never) {
				t.Errorf("%q is in\n%s", tt.never, &out)
			}
		})
	}
}
