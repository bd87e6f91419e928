package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// what wixl 0.101 cannot be told, in the installer's own language: the folder
// of the program in PATH, and an older version removed where Windows wants it,
// before anything of the new one is there.
var completions = []string{
	"CREATE TABLE `Environment` (`Environment` CHAR(72) NOT NULL, `Name` CHAR(255) NOT NULL LOCALIZABLE, `Value` CHAR(255) LOCALIZABLE, `Component_` CHAR(72) NOT NULL PRIMARY KEY `Environment`)",
	"INSERT INTO `Environment` (`Environment`, `Name`, `Value`, `Component_`) VALUES ('Path', '=-*PATH', '[~];[INSTALLDIR]', 'Program')",
	"INSERT INTO `InstallExecuteSequence` (`Action`, `Sequence`) VALUES ('RemoveEnvironmentStrings', 3300)",
	"INSERT INTO `InstallExecuteSequence` (`Action`, `Sequence`) VALUES ('WriteEnvironmentStrings', 5200)",
	"UPDATE `InstallExecuteSequence` SET `Sequence` = 1510 WHERE `Action` = 'RemoveExistingProducts'",
	"UPDATE `InstallExecuteSequence` SET `Sequence` = 1550 WHERE `Action` = 'UninstallService'",
	"UPDATE `InstallExecuteSequence` SET `Sequence` = 5910 WHERE `Action` = 'InstallService'",
	"UPDATE `InstallExecuteSequence` SET `Sequence` = 5915 WHERE `Action` = 'KeepService'",
	"UPDATE `InstallExecuteSequence` SET `Sequence` = 5920 WHERE `Action` = 'StartService'",
}

// installer makes the installer of Windows for s.
func (r *release) installer(ctx context.Context, s system) error {
	for _, program := range []string{"wixl", "msibuild"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("the installer of Windows needs %s: apt-get install wixl msitools, or leave windows/amd64 out with --only", program)
		}
	}
	// wixl finds files by names without folders only, and hands their times on.
	dir := filepath.Join(r.work, "msi")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, path := range []string{r.program(s), "LICENSE", filepath.Join(r.documentsDir(), "third-party-licenses.txt"), "config.example.yaml", "docs/windows.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		copied := filepath.Join(dir, filepath.Base(path))
		if err := errors.Join(os.WriteFile(copied, text, 0o644), os.Chtimes(copied, r.Date, r.Date)); err != nil {
			return err
		}
	}
	if err := r.render("scandrop.wxs", filepath.Join(dir, "scandrop.wxs"), r); err != nil {
		return err
	}
	msi := filepath.Join(r.out, r.MSI())
	wixl := exec.CommandContext(ctx, "wixl", "-a", "x64", "-o", msi, "scandrop.wxs")
	wixl.Dir = dir
	if text, err := wixl.CombinedOutput(); err != nil {
		return fmt.Errorf("wixl: %w: %s", err, text)
	}
	args := []string{msi}
	for _, query := range completions {
		args = append(args, "-q", query)
	}
	if _, err := output(ctx, nil, "msibuild", args...); err != nil {
		return err
	}
	text, err := os.ReadFile(msi)
	if err != nil {
		return err
	}
	if err := settle(text, guid("package "+r.Version), r.Date); err != nil {
		return fmt.Errorf("%s: %w", r.MSI(), err)
	}
	return os.WriteFile(msi, text, 0o644)
}

// summary begins the properties of an installer's summary: its format's ID.
var summary = []byte{0xE0, 0x85, 0x9F, 0xF2, 0xF9, 0x4F, 0x68, 0x10, 0xAB, 0x91, 0x08, 0x00, 0x2B, 0x27, 0xB3, 0xD9}

// settle puts a package code and a time in the place of those that wixl chose,
// at random and by the clock, in an installer's summary. The code is of the
// form that guid gives.
func settle(msi []byte, code string, date time.Time) error {
	const header = 28 // bytes of the property set before the ID of its format
	i := bytes.Index(msi, summary)
	if i < header || bytes.Contains(msi[i+1:], summary) || len(msi) < i+len(summary)+4 {
		return errors.New("there is not exactly one summary in the installer")
	}
	set := msi[i-header:]
	start := int(binary.LittleEndian.Uint32(set[header+len(summary):]))
	if start < 0 || start+8 > len(set) {
		return errors.New("the installer's summary is cut off")
	}
	section := set[start:]
	count := int(binary.LittleEndian.Uint32(section[4:]))
	if count > 64 || 8+8*count > len(section) {
		return errors.New("the installer's summary is damaged")
	}
	const packageCode, created, saved = 9, 12, 13
	const text, filetime = 30, 64
	settled := 0
	for p := range count {
		id := binary.LittleEndian.Uint32(section[8+8*p:])
		at := int(binary.LittleEndian.Uint32(section[12+8*p:]))
		if at < 0 || at+8+len(code) > len(section) {
			continue // too near to the end to be one of ours
		}
		kind, value := binary.LittleEndian.Uint32(section[at:]), section[at+4:]
		switch {
		case id == packageCode && kind == text && bytes.HasPrefix(value[4:], []byte("{")):
			settled += copy(value[4:], code)
		case (id == created || id == saved) && kind == filetime:
			// In 100 ns since 1601.
			binary.LittleEndian.PutUint64(value, uint64(date.Unix()+11644473600)*10_000_000)
			settled += 8
		}
	}
	if settled != len(code)+16 || !strings.HasPrefix(code, "{") {
		return errors.New("the installer's summary lacks a package code or a time")
	}
	return nil
}
