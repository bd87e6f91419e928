package result

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/windows"
)

// A result that a viewer holds open is not replaced while it is, which may pass: nothing
// is lost, and the same is written when it is closed.
func TestHeldByAViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the patience for viewers takes no time
		d := newDesk(t)
		d.put("letter.pdf", "scan")
		d.put("letter.txt", "old")
		name, err := windows.UTF16PtrFromString(d.at("letter.txt"))
		if err != nil {
			t.Fatal(err)
		}
		viewer, err := windows.CreateFile(name, windows.GENERIC_READ, windows.FILE_SHARE_READ, nil, windows.OPEN_EXISTING, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		s := d.stage("letter.pdf", "new")
		s.Earlier = d.at("letter.txt")
		if _, err := s.Publish(t.Context(), grant("old")); !Busy(err) {
			t.Errorf("Publish while it is viewed: %v, want an error that may pass", err)
		}
		s.Discard()
		d.want(map[string]string{"letter.pdf": "scan", "letter.txt": "old"})
		if err := windows.CloseHandle(viewer); err != nil {
			t.Fatal(err)
		}
		s = d.stage("letter.pdf", "new")
		s.Earlier = d.at("letter.txt")
		if _, err := s.Publish(t.Context(), grant("old")); err != nil {
			t.Error(err)
		}
		d.want(map[string]string{"letter.pdf": "scan", "letter.txt": "new"})
	})
}

// While we read a scan it can be moved and deleted.
func TestOriginalIsInNobodysWay(t *testing.T) {
	d := newDesk(t)
	d.put("letter.pdf", "scan")
	f, err := d.folder.OpenFile(d.at("letter.pdf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Rename(d.at("letter.pdf"), d.at("memo.pdf")); err != nil {
		t.Error(err)
	}
	if err := os.Remove(d.at("memo.pdf")); err != nil {
		t.Error(err)
	}
}

// Paths may be longer than the 260 letters that old programs know.
func TestLongPath(t *testing.T) {
	d := newDesk(t)
	deep := strings.Repeat(strings.Repeat("long", 12)+"/", 6)
	d.put(deep+"letter.pdf", "scan")
	if _, err := d.stage(deep+"letter.pdf", "text").Publish(t.Context(), grant()); err != nil {
		t.Error(err)
	}
	d.want(map[string]string{deep + "letter.pdf": "scan", deep + "letter.txt": "text"})
}
