package sandbox

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseScriptMistakes(t *testing.T) {
	for line, want := range map[string]string{
		"uplaod: 500":                  `unknown call "uplaod": write one of upload, status`,
		"upload 3 500":                 `a ":" is missing before "500"`,
		"upload 3":                     `a ":" is missing before ""`,
		"upload:":                      `unknown action ""`,
		"upload: answer":               `unknown action ""`,
		"upload: 99":                   "status code from 200 to 599",
		"upload: made":                 "status code from 200 to 599",
		"upload: made 700":             "status code from 200 to 599",
		"upload: 429 retry-after":      "number of seconds, date or absurd",
		"upload: 422 field":            "needs a name",
		"upload: cut":                  `as in "cut 100"`,
		"upload: cut -1":               `as in "cut 100"`,
		"upload: slow":                 `as in "slow 20s"`,
		"upload: slow 20":              `as in "slow 20s"`,
		"upload: slow -1s":             `as in "slow 20s"`,
		"upload: 401 for":              `as in "for 20s"`,
		"upload: lost 3":               `nothing may follow here, but there is "3"`,
		"upload: lost cut":             `nothing may follow here, but there is "cut"`,
		`upload: fail "no end`:         `close it with "`,
		"upload 5-2: lost":             `"5-2" picks no calls`,
		"upload every: lost":           `picks no calls`,
		"upload every 0: lost":         `"every 0" picks no calls`,
		"upload 9999999999: lost":      `picks no calls`,
		"upload p=0: lost":             "no probability",
		"upload p=2: lost":             "no probability",
		"upload p=nan: lost":           "no probability",
		"seed":                         `as in "seed 42"`,
		"seed 1 2":                     "nothing may follow",
		"status: twin":                 `"twin" does not go with status: it goes with upload`,
		"any: vanish":                  `"vanish" does not go with any`,
		"upload 1: lost upload 2: 500": "nothing may follow",
	} {
		_, err := ParseScript("# a comment\n" + line)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "line 2: ") {
			t.Errorf("%q: got error %v, want one of line 2 with %q", line, err, want)
		}
	}
}

func FuzzParseScript(f *testing.F) {
	for _, s := range []string{
		"", "seed 7\nany p=0.5: 503 html retry-after date", "upload 2-5: lost # twice", "list every 3: lag 20s for 1h",
		`upload: fail "a # in : it"`, "status 3: stay for 2s\nstatus: stay 3s", "delete: made 500 field x retry-after absurd",
		"download always: cut 0\r\n", "upload:drop", "upload:drop 5", "\"", "upload 1: 422 field html html",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseScript(text)
		if err != nil {
			return
		}
		again, err := ParseScript(s.String())
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%q reads as %#v, but its form %q as %#v, %v", text, s, s, again, err)
		}
		trouble := s.start()
		for range 5 {
			trouble.strike(opUpload, time.Time{})
		}
	})
}

func parse(t *testing.T, script string) Script {
	t.Helper()
	s, err := ParseScript(script)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStrike(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		script string
		calls  string // one letter a call: u upload, s status; a digit lets that many seconds pass
		want   string // the calls that are struck, x, or not, .
	}{
		"one":               {"upload 2: lost", "uuu", ".x."},
		"own count":         {"upload 2: lost", "susu", "...x"},
		"any counts all":    {"any 2: lost", "susu", ".x.."},
		"range":             {"upload 2-3: lost", "uuuu", ".xx."},
		"every":             {"upload every 2: lost", "uuuuu", ".x.x."},
		"always":            {"upload always: lost", "us", "x."},
		"by default always": {"upload: lost", "us", "x."},
		"certain":           {"upload p=1: lost", "uu", "xx"},
		"holds":             {"upload 2: 401 for 5s", "uu4usu1uu", ".xx.x.."},
		"holds its op only": {"any 1: 401 for 5s", "us5us", "xx.."},
	} {
		t.Run(name, func(t *testing.T) {
			trouble, now, got := parse(t, tt.script).start(), now, ""
			for _, c := range tt.calls {
				op := opUpload
				switch {
				case c >= '0' && c <= '9':
					now = now.Add(time.Duration(c-'0') * time.Second)
					continue
				case c == 's':
					op = opStatus
				}
				if f := trouble.strike(op, now); f[slotAnswer].verb != "" {
					got += "x"
				} else {
					got += "."
				}
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestStrikeCombines(t *testing.T) {
	f := parse(t, "any: slow 1s\nupload: lost\nany: 500\nupload: twin\nupload: slow 9s").start().strike(opUpload, time.Time{})
	if f[slotAnswer].verb != "lost" || f[slotSlow].delay != time.Second || f[slotDocument].verb != "twin" {
		t.Errorf("got %v: of several answers the first must win, and other things must combine", f)
	}
}

func TestChanceIsSeeded(t *testing.T) {
	run := func(script string, others int) (hits string) {
		trouble := parse(t, script).start()
		for range 64 {
			for range others {
				trouble.strike(opStatus, time.Time{})
			}
			if trouble.strike(opUpload, time.Time{})[slotAnswer].verb == "lost" {
				hits += "x"
			} else {
				hits += "."
			}
		}
		return hits
	}
	const rules = "upload p=0.5: lost\nstatus p=0.5: empty"
	first := run("seed 1\n"+rules, 0)
	if n := strings.Count(first, "x"); n < 16 || n > 48 {
		t.Errorf("p=0.5 struck %d of 64 calls", n)
	}
	if again := run("seed 1\n"+rules, 3); again != first {
		t.Errorf("the same seed struck %s, then, with other calls between, %s", first, again)
	}
	if other := run("seed 2\n"+rules, 0); other == first {
		t.Error("another seed strikes the same calls")
	}
}
