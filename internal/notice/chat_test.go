package notice

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nicholas-fedor/shoutrrr"
	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

func TestChat(t *testing.T) {
	said := make(chan string, 1)
	status := 200
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		said <- string(body)
		w.WriteHeader(status)
	}))
	defer server.Close()
	url := strings.Replace(server.URL, "http://", "generic://", 1) + "/sEcReTpLaCe?disabletls=yes"
	c := Chat{URL: secretIs(url)}
	if err := c.Send(t.Context(), example); err != nil {
		t.Fatal(err)
	}
	if got := <-said; !strings.Contains(got, example.Title) || !strings.Contains(got, "upside down") {
		t.Errorf("said %s", got)
	}
	status = 500
	err := c.Send(t.Context(), example)
	<-said
	if err == nil || strings.Contains(err.Error(), "sEcReTpLaCe") {
		t.Errorf("refused: %v", err)
	}
	for _, bad := range []string{"slack://to-ken-one/to-ken-two", "nothing://sEcReTpLaCe", "sEcReTpLaCe"} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nothing leaves this machine
		if err := (Chat{URL: secretIs(bad)}).Send(ctx, example); err == nil || strings.Contains(err.Error(), "sEcReTpLaCe") || strings.Contains(err.Error(), "to-ken") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	server.Close() // now an error of the library's names the URL
	gone := "mattermost://" + strings.TrimPrefix(server.URL, "http://") + "/sEcReTpLaCe?disabletls=yes"
	if err := (Chat{URL: secretIs(gone)}).Send(t.Context(), example); err == nil || strings.Contains(err.Error(), "sEcReTpLaCe") {
		t.Errorf("gone: %v", err)
	}
}

// Every service of the library is there, but those of which services says why not, and
// the document names each.
func TestServices(t *testing.T) {
	want := (&router.ServiceRouter{}).ListServices()
	want = slices.DeleteFunc(want, func(s string) bool { return s == "smtp" || s == "logger" || s == "generic" })
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(maps.Keys(services))); diff != "" {
		t.Error(diff)
	}
	doc, err := os.ReadFile("../../docs/notices.md")
	if err != nil {
		t.Fatal(err)
	}
	for scheme := range services {
		if !strings.Contains(string(doc), "`"+scheme+"`") {
			t.Errorf("docs/notices.md does not name %s", scheme)
		}
	}
}

// What the services that may speak to this machine send, by their own rules.
func TestChatServices(t *testing.T) {
	said := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		said <- fmt.Sprintf("%s %s %s %s", r.Method, r.URL, r.Header.Get("Title"), body)
		fmt.Fprint(w, `{"id": 1}`)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	for url, want := range map[string][]string{
		"ntfy://" + host + "/scans?scheme=http":                      {"POST /scans " + example.Title, "upside down"},
		"gotify://" + host + "/Aaa.bbb.ccc.ddd?disabletls=yes":       {"POST /message", example.Title, "upside down"},
		"mattermost://desk@" + host + "/to-ken-123?disabletls=yes":   {"POST /hooks/to-ken-123", `"username":"desk"`, "upside down"},
		"generic+" + server.URL + "/hook?x=1":                        {"POST /hook?x=1", "upside down"},
		"generic://" + host + "/hook?disabletls=yes&template=json":   {"POST /hook", `"title":"` + example.Title, "upside down"},
		"GENERIC://" + host + "/hook?disabletls=yes&method=PUT&$x=y": {"PUT /hook", "upside down"},
	} {
		if err := (Chat{URL: secretIs(url)}).Send(t.Context(), example); err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		got := <-said
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s said %s, and not %s", url, got, w)
			}
		}
	}
}

// What is posted anywhere is what the library's own service posts.
func TestAnywhereAsTheLibrary(t *testing.T) {
	got := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- fmt.Sprintf("%s %s type %s, %v %v: %s", r.Method, r.URL, r.Header.Get("Content-Type"), r.Header["X-Api-Key"], r.Header["Ab"], body)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	for _, url := range []string{
		"generic+" + server.URL, "generic+" + server.URL + "/a%2Fb?x=1&template=json&titlekey=t",
		"generic://" + host + "?disabletls=yes", "generic://" + host + "/x/?disabletls=yes&y=1&y=2&__title=3",
		"generic://" + host + "/x?disabletls=yes&template=JSON&messagekey=text&$more=1&$text=other&contenttype=application/x&@xApiKey=k&method=put",
		"generic://" + host + "/x?disabletls=yes&@X-Api-Key=k&@contentType=text/x&@ab=c&@=e&$=f",
		"generic://" + host + "/x?disabletls=yes&template=letter", "generic://" + host + "/x?disabletls=maybe",
	} {
		library, err := shoutrrr.CreateSender(url)
		want, mine := "", ""
		if err == nil {
			if library.Send("text", &types.Params{"title": "title"})[0] == nil {
				want = <-got
			}
		}
		send, err := sender(url)
		if err == nil {
			if err = send(t.Context(), "title", "text"); err == nil {
				mine = <-got
			}
		}
		if mine != want {
			t.Errorf("%s:\n%s %v\nthe library's is\n%s", url, mine, err, want)
		}
	}
}
