package daemon

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scandrop/internal/config"
	"scandrop/internal/sandbox"
)

// BenchmarkScans sees small scans through from the folder to the deletion of the copy
// at the service, which is ready at once and serves real connections in this process.
// The flame graph of docs/speed.md is of its profile.
func BenchmarkScans(b *testing.B) {
	box := sandbox.New(sandbox.Options{})
	defer box.Close()
	srv := httptest.NewServer(box)
	defer srv.Close()
	dir := b.TempDir()
	scans := filepath.Join(dir, "scans")
	if err := os.Mkdir(scans, 0o700); err != nil {
		b.Fatal(err)
	}
	block := strings.Repeat("\xff"+strings.Repeat(".", 255), 40) // of a remark
	for i := range b.N {
		text := strings.Replace(scanOf(fmt.Sprint(i)), "\x00;", block+"\x00;", 1)
		if err := os.WriteFile(filepath.Join(scans, fmt.Sprintf("%07d.gif", i)), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	file := filepath.Join(dir, "c.yaml")
	err := os.WriteFile(file, fmt.Appendf(nil, `
api: {url: "%s/api/v2", token: t, rate: 100000, burst: 1000}
state: state
status: {listen: ""}
workers: 8
folders:
- {path: scans, formats: [txt], quiet: 1ms}
`, srv.URL), 0o600)
	if err != nil {
		b.Fatal(err)
	}
	c, err := config.Load(file, config.Environment{})
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	s, err := Run(b.Context(), Options{Config: c, Once: true, Version: "bench", Log: slog.New(slog.DiscardHandler)})
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	if s.Done != b.N {
		b.Fatalf("%+v, want %d done", s, b.N)
	}
	requests := 0
	for _, n := range box.Stats().Requests {
		requests += n
	}
	b.ReportMetric(float64(requests)/float64(b.N), "requests/scan")
}
