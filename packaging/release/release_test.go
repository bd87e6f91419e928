package main

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestChoose(t *testing.T) {
	if all, err := choose(""); err != nil || len(all) != len(systems) {
		t.Errorf("nothing chosen: %v, %v; want all", all, err)
	}
	some, err := choose("windows/amd64,linux/arm,windows/amd64")
	if err != nil || len(some) != 2 || some[0] != (system{"windows", "amd64"}) {
		t.Errorf("chosen: %v, %v", some, err)
	}
	if _, err := choose("plan9/amd64"); err == nil || !strings.Contains(err.Error(), "plan9/amd64") {
		t.Errorf("a system without a release: %v", err)
	}
}

// machO is the least that is a program of macOS.
func machO(cpu macho.Cpu, filler byte, size int) []byte {
	var b []byte
	for _, field := range []uint32{macho.Magic64, uint32(cpu), 3, uint32(macho.TypeExec), 0, 0, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, field)
	}
	return append(b, bytes.Repeat([]byte{filler}, size)...)
}

func TestJoin(t *testing.T) {
	programs := [][]byte{machO(macho.CpuAmd64, 'x', 40000), machO(macho.CpuArm64, 'y', 5)}
	fat, err := join(programs...)
	if err != nil {
		t.Fatal(err)
	}
	f, err := macho.NewFatFile(bytes.NewReader(fat))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Arches) != len(programs) {
		t.Fatalf("%d programs in it, want %d", len(f.Arches), len(programs))
	}
	for i, a := range f.Arches {
		if a.Offset%(1<<a.Align) != 0 {
			t.Errorf("program %d begins at %d, not at a page", i, a.Offset)
		}
		if got := fat[a.Offset : a.Offset+a.Size]; !bytes.Equal(got, programs[i]) {
			t.Errorf("program %d is not what was put in", i)
		}
	}
	if f.Arches[0].Cpu != macho.CpuAmd64 || f.Arches[1].Cpu != macho.CpuArm64 {
		t.Errorf("for %v and %v", f.Arches[0].Cpu, f.Arches[1].Cpu)
	}
	if _, err := join([]byte("not a program")); err == nil {
		t.Error("something that is no program was taken")
	}
}

func TestArchivesAreTheSameWhereverTheyAreMade(t *testing.T) {
	r := &release{Version: "1.2.3", Date: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	made := func() (tarball, zip bytes.Buffer) {
		path := filepath.Join(t.TempDir(), "scandrop")
		if err := os.WriteFile(path, []byte("a program"), 0o700); err != nil {
			t.Fatal(err)
		}
		members := []member{{"scandrop", path, 0o755}}
		if err := r.tarball(&tarball, "scandrop_1.2.3", members); err != nil {
			t.Fatal(err)
		}
		if err := r.zip(&zip, "scandrop_1.2.3", members); err != nil {
			t.Fatal(err)
		}
		return tarball, zip
	}
	tar1, zip1 := made()
	tar2, zip2 := made()
	if !bytes.Equal(tar1.Bytes(), tar2.Bytes()) || !bytes.Equal(zip1.Bytes(), zip2.Bytes()) {
		t.Error("another folder, another time, another archive")
	}
}

func TestGUID(t *testing.T) {
	a, b := guid("product 1.0.0"), guid("product 1.0.1")
	if a == b || a != guid("product 1.0.0") {
		t.Errorf("%s, %s: not one for each name", a, b)
	}
	if !regexp.MustCompile(`^\{[0-9A-F]{8}-[0-9A-F]{4}-5[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}\}$`).MatchString(a) {
		t.Errorf("%s is not a GUID", a)
	}
}

func TestVersions(t *testing.T) {
	for version, want := range map[string][2]string{"1.2.3": {"1.2.3-1", "1.2.3"}, "1.3.0-rc.1": {"1.3.0~rc.1-1", "1.3.0"}} {
		if got := debianVersion(version); got != want[0] {
			t.Errorf("%s is %s to Debian, want %s", version, got, want[0])
		}
		if got := (&release{Version: version}).MSIVersion(); got != want[1] {
			t.Errorf("%s is %s to Windows, want %s", version, got, want[1])
		}
	}
}

// The manifests name what was made, with its sum, and nothing that was not.
func TestManifests(t *testing.T) {
	t.Chdir("../..") // where templates are
	r := &release{Version: "1.2.3", URL: "https://downloads.scandrop.example/1.2.3", out: t.TempDir(), work: t.TempDir(), files: map[string]string{}}
	if err := r.manifests(); err == nil {
		t.Error("manifests of nothing")
	}
	made := []string{r.Darwin(), r.LinuxAMD64(), r.LinuxARM64(), r.WindowsAMD64(), r.WindowsARM64(), r.MSI()}
	for _, name := range made {
		if err := os.WriteFile(filepath.Join(r.out, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.manifests(); err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, path := range []string{"homebrew/scandrop.rb", "scoop/scandrop.json", "winget/scandrop.scandrop.installer.yaml", "winget/scandrop.scandrop.yaml"} {
		text, err := os.ReadFile(filepath.Join(r.out, path))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bytes.ToLower(text)...)
	}
	for _, name := range made {
		if !bytes.Contains(all, []byte(strings.ToLower(r.URL+"/"+name))) {
			t.Errorf("no manifest says where %s is", name)
		}
		if sum, err := r.Sum(name); err != nil || !bytes.Contains(all, []byte(sum)) {
			t.Errorf("no manifest has the sum of %s (%v)", name, err)
		}
	}
	if err := r.sums(); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(r.out, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if _, err := hex.DecodeString(sum); err != nil || len(sum) != 64 {
			t.Errorf("no sum: %s", line)
		}
		if _, err := os.Stat(filepath.Join(r.out, name)); err != nil {
			t.Error(err)
		}
	}
	if n := bytes.Count(list, []byte("\n")); n != len(made)+5 {
		t.Errorf("%d files in SHA256SUMS, want %d", n, len(made)+5)
	}
}

func TestTimelessBill(t *testing.T) {
	date := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	bill := func(now, hash string) string {
		text, err := timeless([]byte(`{"metadata": {"timestamp": "`+now+`", "tools": [{"name": "x", "hashes": [{"content": "`+hash+`"}]}]}, "components": [{"name": "bbolt"}]}`), date)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	one := bill("2026-11-25T00:00:00Z", "1")
	if one != bill("2026-11-26T00:00:00Z", "2") || !strings.Contains(one, "2026-11-24T12:00:00Z") || !strings.Contains(one, "bbolt") {
		t.Error(one)
	}
	if _, err := timeless([]byte(`{}`), date); err == nil {
		t.Error("a bill without metadata was taken")
	}
}

// An installer's summary is found wherever it lies, and what is none is refused.
func TestSettle(t *testing.T) {
	date := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	code := guid("package 1.0.0")
	summaryWith := func(random string, clock uint64) []byte {
		set := append(make([]byte, 28), summary...)
		set = binary.LittleEndian.AppendUint32(set, uint32(len(set)+4))
		section := binary.LittleEndian.AppendUint32(nil, 0)
		section = binary.LittleEndian.AppendUint32(section, 3)
		for i, id := range []uint32{9, 12, 13} {
			section = binary.LittleEndian.AppendUint32(section, id)
			section = binary.LittleEndian.AppendUint32(section, uint32(32+[]int{0, 48, 60}[i]))
		}
		section = append(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(section, 30), 39), random...)
		section = append(section, 0, 0)
		for range 2 {
			section = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(section, 64), clock)
		}
		return append(append([]byte("what is before"), append(set, section...)...), make([]byte, 100)...)
	}
	one, two := summaryWith(guid("a"), 1), summaryWith(guid("b"), 2)
	for _, msi := range [][]byte{one, two} {
		if err := settle(msi, code, date); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(one, two) || !bytes.Contains(one, []byte(code)) {
		t.Error("two installers that differ by chance and by the clock still do")
	}
	if err := settle([]byte("no installer"), code, date); err == nil {
		t.Error("what is no installer was settled")
	}
}
