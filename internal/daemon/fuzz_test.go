package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// An installation that is not what was written is refused, and never replaced:
// its key is what finds our uploads again.
func FuzzInstallation(f *testing.F) {
	f.Add([]byte(`{"name":"AB12","key":"MDEyMzQ1Njc4OWFiY2RlZg=="}`))
	f.Add([]byte(`{"name":"AB23","key":"MDEyMzQ1Njc4OWFiY2RlZg=="}`))
	f.Add([]byte(``))
	f.Add([]byte(`{"name":"AAAA\n","key":null}`))
	path := filepath.Join(f.TempDir(), installationFile)
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		i, err := loadInstallation(path)
		if err == nil && (len(i.Key) < 16 || !installationName.MatchString(i.Name)) {
			t.Errorf("%q was taken: %q", text, i.Name)
		}
		if there, err := os.ReadFile(path); err != nil || !bytes.Equal(there, text) {
			t.Errorf("%q became %q, %v", text, there, err)
		}
	})
}
