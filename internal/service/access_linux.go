package service

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// grant gives an account leave to read and write in a folder, in all that lies
// below it and in what will, by POSIX access lists; see acl(5). Owners, groups
// and modes stay. What the account makes there may be read by the folder's owner
// and group, as if one of them had made it. It reports whether that was
// necessary: a folder that is the account's own is left alone.
func grant(folder, account string) (done bool, err error) {
	u, err := user.Lookup(account)
	if err != nil {
		return false, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return false, err
	}
	info, err := os.Stat(folder)
	if err != nil {
		return false, err
	}
	top, ok := info.Sys().(*syscall.Stat_t)
	if !ok || uid == 0 || uint64(top.Uid) == uid && info.Mode()&0o700 == 0o700 {
		return false, nil
	}
	root, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return false, err
	}
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != root: // gone meanwhile
			return nil
		case err != nil:
			return err
		case e.IsDir():
			return errors.Join(
				allow(path, accessList, entry{aclUser, 7, uint32(uid)}),
				allow(path, defaultList, entry{aclUser, 7, uint32(uid)}, entry{aclUser, 7, top.Uid}, entry{aclGroup, uint16(info.Mode() >> 3 & 7), top.Gid}))
		case e.Type().IsRegular():
			return allow(path, accessList, entry{aclUser, 6, uint32(uid)})
		}
		return nil
	})
	return true, err
}

// The names of a file's access lists.
const (
	accessList  = "system.posix_acl_access"
	defaultList = "system.posix_acl_default" // of a folder: for what is made in it
)

// The kinds of entries, in the order in which the list has them.
const (
	aclOwner = 1 << iota
	aclUser
	aclOwningGroup
	aclGroup
	aclMask
	aclOther
)

const (
	aclVersion = 2
	aclNobody  = ^uint32(0) // id of entries that name nobody
)

// An entry is one of an access list, as the kernel lays it out.
type entry struct {
	kind, rights uint16
	id           uint32
}

// allow adds entries to an access list of the file, in the place of those for
// the same user or group.
func allow(path, list string, entries ...entry) error {
	old := make([]byte, 1<<16) // the greatest that there is
	n, err := unix.Lgetxattr(path, list, old)
	if err != nil && !errors.Is(err, unix.ENODATA) {
		return ignoreGone(&fs.PathError{Op: "read the access list of", Path: path, Err: err})
	}
	var acl []entry
	if err == nil {
		acl = parseACL(old[:n])
	}
	if acl == nil { // what the mode says
		info, err := os.Lstat(path)
		if err != nil {
			return ignoreGone(err)
		}
		mode := uint16(info.Mode().Perm())
		acl = []entry{{aclOwner, mode >> 6 & 7, aclNobody}, {aclOwningGroup, mode >> 3 & 7, aclNobody}, {aclOther, mode & 7, aclNobody}}
	}
	err = unix.Lsetxattr(path, list, formatACL(extended(acl, entries...)), 0)
	if err != nil {
		return ignoreGone(&fs.PathError{Op: "set the access list of", Path: path, Err: err})
	}
	return nil
}

// ignoreGone is err, unless it is that there is no such file any more.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// extended is the list with the entries, and with a mask that lets them, and
// what was there, have effect.
func extended(acl []entry, entries ...entry) []entry {
	same := func(a entry) func(entry) bool {
		return func(b entry) bool { return a.kind == b.kind && a.id == b.id }
	}
	mask := uint16(0)
	acl = slices.Clone(acl)
	for _, e := range entries {
		if i := slices.IndexFunc(acl, same(e)); i >= 0 {
			acl[i].rights |= e.rights
		} else {
			acl = append(acl, e)
		}
		mask |= e.rights
	}
	if i := slices.IndexFunc(acl, same(entry{kind: aclMask, id: aclNobody})); i >= 0 {
		acl[i].rights |= mask
	} else {
		for _, e := range acl {
			if e.kind == aclOwningGroup {
				mask |= e.rights
			}
		}
		acl = append(acl, entry{aclMask, mask, aclNobody})
	}
	slices.SortFunc(acl, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id))
	})
	return acl
}

func parseACL(raw []byte) []entry {
	if len(raw) < 4 || binary.LittleEndian.Uint32(raw) != aclVersion {
		return nil
	}
	var acl []entry
	for raw = raw[4:]; len(raw) >= 8; raw = raw[8:] {
		acl = append(acl, entry{binary.LittleEndian.Uint16(raw), binary.LittleEndian.Uint16(raw[2:]), binary.LittleEndian.Uint32(raw[4:])})
	}
	return acl
}

func formatACL(acl []entry) []byte {
	raw := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range acl {
		raw = binary.LittleEndian.AppendUint16(raw, e.kind)
		raw = binary.LittleEndian.AppendUint16(raw, e.rights)
		raw = binary.LittleEndian.AppendUint32(raw, e.id)
	}
	return raw
}
