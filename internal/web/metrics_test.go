package web

import (
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"scandrop/internal/control"
	"scandrop/queue"
)

// scraped are the metrics of a daemon that has seen something of everything.
func scraped(t *testing.T) (*site, string) {
	t.Helper()
	meter := new(Meter)
	s := newSite(t, func(c *Config) {
		c.Meter = meter
		about := c.About
		c.About = func() control.Status {
			st := about()
			st.Folders = append(st.Folders, control.Folder{Path: "/odd \"name\"\\of a\nfolder\xff", Mode: "polling", Missed: 3})
			st.Limits = []control.Limit{{Name: "pages a day", Used: 7, Most: 100}}
			return st
		}
	})
	s.add("zebra.pdf", "x")
	if err := s.queue.Hold(queue.Hold{Cause: queue.Missing, Folder: s.dir, Reason: "zebra"}); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"forms", "letters"} {
		if err := s.queue.Hold(queue.Hold{Cause: queue.Profile, Folder: s.dir, Dir: s.dir + "/" + dir, Reason: "no such action"}); err != nil {
			t.Fatal(err)
		}
	}
	meter.Asked("upload", 201)
	meter.Asked("upload", 201)
	meter.Asked("list", 0)
	meter.Asked("status", 429)
	meter.Done(queue.Job{Added: time.Unix(0, 0), Finished: time.Unix(7, 0)})
	meter.Done(queue.Job{Added: time.Unix(0, 0), Finished: time.Unix(1e6, 0)})
	status, body, header := s.ask(s.client(), "GET", "/metrics", nil)
	if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%d %v", status, header)
	}
	return s, body
}

func TestMetrics(t *testing.T) {
	s, body := scraped(t)
	for _, want := range []string{
		`scandrop_jobs{folder="` + s.dir + `",state="queued"} 1`,
		`scandrop_held{cause="missing",folder="` + s.dir + `"} 1`,
		`scandrop_held{cause="profile",folder="` + s.dir + `"} 2`,
		`scandrop_ready 0`,
		`scandrop_requests_total{operation="upload",status="201"} 2`,
		`scandrop_requests_total{operation="list",status="none"} 1`,
		`scandrop_scan_duration_seconds_bucket{le="5"} 0`,
		`scandrop_scan_duration_seconds_bucket{le="10"} 1`,
		`scandrop_scan_duration_seconds_bucket{le="+Inf"} 2`,
		`scandrop_scan_duration_seconds_count 2`,
		`scandrop_missed_events_total{folder="/odd \"name\"\\of a\nfolder` + "\uFFFD" + `"} 3`,
		`scandrop_limit_used_pages{limit="pages a day",folder=""} 7`,
		`scandrop_billed_pages_ratio 1`,
	} {
		if !strings.Contains(body, "\n"+want+"\n") {
			t.Errorf("%s is missing in\n%s", want, body)
		}
	}
	seen := map[string]bool{}
	for line := range strings.Lines(body) {
		if i := strings.LastIndexByte(line, ' '); !strings.HasPrefix(line, "#") {
			if seen[line[:i]] {
				t.Errorf("%s is there twice, and a scrape fails", line[:i])
			}
			seen[line[:i]] = true
		}
	}
	if strings.Contains(body, "zebra") {
		t.Error("a file is named")
	}
}

func TestPromtoolIsContent(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed")
	}
	_, body := scraped(t)
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(body)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	out, err := exec.Command(promtool, "check", "rules", "../../packaging/prometheus/scandrop.rules.yaml").CombinedOutput()
	if err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
	if out, err := exec.Command(promtool, "test", "rules", "../../packaging/prometheus/scandrop.test.yaml").CombinedOutput(); err != nil {
		t.Errorf("promtool test rules: %v\n%s", err, out)
	}
}

// What rules and dashboard ask for is what is served.
func TestShippedMetricsExist(t *testing.T) {
	_, body := scraped(t)
	served := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)`).FindAllStringSubmatch(body, -1) {
		served[m[1]] = true
		if m[2] == "histogram" {
			served[m[1]+"_bucket"], served[m[1]+"_sum"], served[m[1]+"_count"] = true, true, true
		}
	}
	for _, file := range []string{"../../packaging/prometheus/scandrop.rules.yaml", "../../packaging/grafana/scandrop.json"} {
		n := 0
		for _, name := range regexp.MustCompile(`\bscandrop_\w+`).FindAllString(read(t, file), -1) {
			if n++; !served[name] {
				t.Errorf("%s asks for %s, which is not served", file, name)
			}
		}
		if n == 0 {
			t.Errorf("%s asks for nothing", file)
		}
	}
}
