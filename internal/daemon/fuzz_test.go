package daemon

import "testing"

// An installation that is not what was written is refused: its name becomes
// part of file names, and its key is what finds our uploads again.
func FuzzInstallation(f *testing.F) {
	f.Add([]byte(`{"name":"AB12","key":"MDEyMzQ1Njc4OWFiY2RlZg=="}`))
	f.Add([]byte(`{"name":"AB23","key":"MDEyMzQ1Njc4OWFiY2RlZg=="}`))
	f.Add([]byte(``))
	f.Add([]byte(`{"name":"AAAA\n","key":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		i, ok := parseInstallation(text)
		if ok && (len(i.Key) < 16 || !installationName.MatchString(i.Name)) {
			t.Errorf("%q was taken: %q", text, i.Name)
		}
	})
}
