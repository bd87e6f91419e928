//go:build unix

package service

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// As has the command run as the account, with its groups. It reports false where
// that is who we are anyway. Only root can start such a command.
func As(account string, cmd *exec.Cmd) (bool, error) {
	u, err := user.Lookup(account)
	if err != nil {
		return false, err
	}
	uid, err := id(u.Uid)
	if err != nil || int(uid) == os.Geteuid() {
		return false, err
	}
	gid, err := id(u.Gid)
	if err != nil {
		return false, err
	}
	names, err := u.GroupIds()
	if err != nil {
		return false, fmt.Errorf("the groups of %s: %w", account, err)
	}
	groups := make([]uint32, len(names))
	for i, name := range names {
		if groups[i], err = id(name); err != nil {
			return false, err
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	return true, nil
}

func id(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err
}
