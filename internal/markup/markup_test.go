package markup

import (
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestRender(t *testing.T) {
	for want, n := range map[string]Node{
		"":                                Group{nil, If(false, Text("x"))},
		"a &lt;b&gt; &amp; c":             Text("a <b> & c"),
		`<p class="x&#34;&#39;">y</p>`:    El("p", Text("y"), Class(`x"'`)),
		`<p id="1" title="2"><b></b></p>`: El("p", Group{Attr("id", "1"), Group{El("b")}}, nil, Attr("title", "2")),
		"<input required>":                El("input", Attr("required", ""), Text("nothing fits in here")),
		`<a href="/jobs/..%2F%22%3F%20x/1?q=%22%26">1</a>`: El("a", Link("href", At("/jobs", `../"? x`, "1").Query(url.Values{"q": {`"&`}})), Text("1")),
		`<a href="/evil.example"></a><a href="/"></a>`:     Group{El("a", Link("href", At("/", "evil.example"))), El("a", Link("href", At("/")))},
		"<b>1</b><b>2</b>": Map([]string{"1", "2"}, func(s string) Node { return El("b", Text(s)) }),
	} {
		if got := Render(n); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := Document(El("html", Attr("lang", "en"))); got != `<!doctype html><html lang="en"></html>` {
		t.Error(got)
	}
}

// A browser reads a text back as it was, wherever it stands, and nothing of it as
// markup.
func FuzzText(f *testing.F) {
	for _, s := range []string{
		`"><script>alert(1)</script>`, `' onclick='x`, "</title></textarea></option>", "<!-- -->", "]]>", "&lt;", "&#0;&#x80;", "a\r\nb\r", "\x00", "\xff\xfe", "\u2028", "`=", "\n\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		page := Document(El("html", El("head", El("title", Text(s))), El("body", El("p", Attr("title", s), Text(s), El("i", Link("href", At("/x", s).Query(url.Values{"q": {s}})))))))
		root, err := html.Parse(strings.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		read := strings.NewReplacer("\x00", "\ufffd", "\r\n", "\n", "\r", "\n").Replace(s) // as HTML has it
		var shape []string
		for n := range root.Descendants() {
			switch n.Type {
			case html.ElementNode:
				shape = append(shape, n.Data)
				for _, a := range n.Attr {
					if a.Key == "title" && a.Val != read {
						t.Errorf("the value %q", a.Val)
					}
					if u, err := url.Parse(a.Val); a.Key == "href" && (err != nil || u.Host != "" || u.Path != "/x/"+s || u.Query().Get("q") != s || !strings.HasPrefix(a.Val, "/x/")) {
						t.Errorf("the address %q: %v", a.Val, err)
					}
				}
			case html.TextNode:
				if n.Data != read {
					t.Errorf("the text %q", n.Data)
				}
			case html.CommentNode:
				t.Errorf("the comment %q", n.Data)
			}
		}
		if got := strings.Join(shape, " "); got != "html head title body p i" {
			t.Errorf("the elements %s", got)
		}
	})
}
