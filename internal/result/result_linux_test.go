package result

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestDisks runs tests again in a namespace of their own, where anybody may
// mount small disks, if the system lets us make one.
func TestDisks(t *testing.T) {
	const key = "SCANDROP_TEST_DISKS"
	if os.Getenv(key) != "" {
		t.Run("full", testFull)
		t.Run("read-only", testReadOnly)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestDisks$", "-test.v")
	cmd.Env = append(os.Environ(), key+"=1")
	id := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	gid := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: id, GidMappings: gid,
	}
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Skipf("no namespaces here: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
}

func mount(t *testing.T, options string) desk {
	t.Helper()
	path := t.TempDir()
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, options); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(path, syscall.MNT_DETACH) })
	folder, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	return desk{t, path, folder}
}

func testFull(t *testing.T) {
	d := mount(t, "size=256k")
	d.put("letter.pdf", "scan")
	before, err := Room(d.path)
	if err != nil || before == 0 || before > 256<<10 {
		t.Fatalf("Room = %d, %v", before, err)
	}
	s := d.stage("letter.pdf", "text")
	if _, err := s.Write(make([]byte, 512<<10)); !NoRoom(err) {
		t.Fatalf("Write: %v, want one of no room", err)
	}
	if free, err := Room(d.path); err != nil || free != 0 {
		t.Errorf("Room = %d, %v", free, err)
	}
	asked := false
	_, err = s.Publish(t.Context(), func(string, [32]byte) (Claim, error) { asked = true; return Claim{Mine: true}, nil })
	if !NoRoom(err) || !asked {
		t.Errorf("Publish of what was cut off: %v", err)
	}
	s.Discard()
	d.want(map[string]string{"letter.pdf": "scan"})
	if free, err := Room(d.path); err != nil || free < before-4096 {
		t.Errorf("Room = %d, %v; it was %d before", free, err, before)
	}

	// An original that does not fit on the disk it goes to stays where it is.
	scan := strings.Repeat("x", 300<<10)
	from := newDesk(t)
	from.put("letter.pdf", scan)
	if _, err := from.folder.MoveOriginal(from.at("letter.pdf"), d.at("done"), sum(scan)); !NoRoom(err) {
		t.Errorf("MoveOriginal: %v, want one of no room", err)
	}
	from.want(map[string]string{"letter.pdf": scan})
	d.want(map[string]string{"letter.pdf": "scan"})
}

func testReadOnly(t *testing.T) {
	d := mount(t, "")
	d.put("letter.pdf", "scan")
	if err := syscall.Mount("", d.path, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("remount: %v", err)
	}
	if s, err := d.folder.Stage(d.at("letter.pdf"), "7", "txt"); !NoRoom(err) {
		t.Errorf("Stage: %v, want one of no room", err)
		s.Discard()
	}
	if _, err := d.folder.MoveOriginal(d.at("letter.pdf"), t.TempDir(), sum("scan")); !NoRoom(err) {
		t.Errorf("MoveOriginal: %v, want one of no room", err)
	}
	d.want(map[string]string{"letter.pdf": "scan"})
}
