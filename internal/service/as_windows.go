package service

import (
	"fmt"
	"os/exec"
	"os/user"
	"strings"

	"golang.org/x/sys/windows"
)

// As reports false where the account is who we are anyway, and else an error: nobody
// runs a command as another account of Windows without its password.
func As(account string, _ *exec.Cmd) (bool, error) {
	sid, _, _, err := windows.LookupSID("", strings.TrimPrefix(account, `.\`))
	if err != nil {
		return false, fmt.Errorf("look up %s: %w", account, err)
	}
	self, err := user.Current()
	if err != nil {
		return false, err
	}
	if sid.String() == self.Uid {
		return false, nil
	}
	return false, fmt.Errorf("nothing can be run as %s without its password", account)
}
