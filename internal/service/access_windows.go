package service

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// grantAll gives the account leave to use the folders of the configuration, and
// what lies beside it: state and log.
func grantAll(c Config) (notes []string, err error) {
	account, _, _, err := windows.LookupSID("", c.Account)
	if err != nil {
		return []string{fmt.Sprintf("the account %s is not known here (%v): see that it may read and write in the hot folders", c.Account, err)}, nil
	}
	home := filepath.Dir(LogFile())
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, err
	}
	folders := append([]string{home}, c.Folders...)
	for _, folder := range folders {
		if err := allow(folder, account, modify); err != nil {
			if os.IsNotExist(err) { // it may be there later; check says so
				continue
			}
			notes = append(notes, fmt.Sprintf("%s could not be given leave to use %s (%v): see that it may read and write there", c.Account, folder, err))
			continue
		}
		notes = append(notes, fmt.Sprintf("%s was given leave to read and write in %s", c.Account, folder))
	}
	if c.State != "" {
		if err := os.MkdirAll(c.State, 0o700); err != nil {
			return notes, err
		}
	}
	for path, rights := range map[string]windows.ACCESS_MASK{c.State: modify, c.Token: windows.GENERIC_READ} {
		if path == "" {
			continue
		}
		// Programs of all users read what lies in ProgramData.
		if err := restrict(path, account, rights); err != nil {
			notes = append(notes, fmt.Sprintf("others could not be kept from reading %s (%v): see that only administrators and %s may", path, err, c.Account))
		}
	}
	if dir := filepath.Dir(c.File); dir != home {
		if err := allow(dir, account, windows.GENERIC_READ|windows.GENERIC_EXECUTE); err != nil {
			notes = append(notes, fmt.Sprintf("%s could not be given leave to read %s: %v", c.Account, dir, err))
		}
	}
	return notes, nil
}

const modify = windows.GENERIC_READ | windows.GENERIC_WRITE | windows.GENERIC_EXECUTE | windows.DELETE

// grant is an entry of an access list, for what lies below a folder, too.
func grant(sid *windows.SID, rights windows.ACCESS_MASK) windows.EXPLICIT_ACCESS {
	return windows.EXPLICIT_ACCESS{
		AccessPermissions: rights,
		AccessMode:        windows.GRANT_ACCESS,
		Inheritance:       windows.SUB_CONTAINERS_AND_OBJECTS_INHERIT,
		Trustee: windows.TRUSTEE{
			TrusteeForm:  windows.TRUSTEE_IS_SID,
			TrusteeType:  windows.TRUSTEE_IS_UNKNOWN,
			TrusteeValue: windows.TrusteeValueFromSID(sid),
		},
	}
}

// Guard takes a file from everybody but this user, the system and administrators.
func Guard(path string) error {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return err
	}
	return restrict(path, user.User.Sid, windows.GENERIC_ALL)
}

// restrict takes a file or folder, and all below it, from everybody but the system,
// administrators, and the account, which has these rights.
func restrict(path string, account *windows.SID, rights windows.ACCESS_MASK) error {
	acl, err := closed(account, rights)
	if err == nil {
		err = windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT,
			windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, acl, nil)
	}
	if err != nil {
		return &os.PathError{Op: "set the access list of", Path: path, Err: err}
	}
	return nil
}

// closed is the access list by which [restrict] does that.
func closed(account *windows.SID, rights windows.ACCESS_MASK) (*windows.ACL, error) {
	entries := []windows.EXPLICIT_ACCESS{grant(account, rights)}
	for _, known := range []windows.WELL_KNOWN_SID_TYPE{windows.WinLocalSystemSid, windows.WinBuiltinAdministratorsSid} {
		sid, err := windows.CreateWellKnownSid(known)
		if err != nil {
			return nil, err
		}
		entries = append(entries, grant(sid, windows.GENERIC_ALL))
	}
	return windows.ACLFromEntries(entries, nil)
}

// allow adds to the access list of a folder, for all that lies below it, too.
func allow(folder string, account *windows.SID, rights windows.ACCESS_MASK) error {
	sd, err := windows.GetNamedSecurityInfo(folder, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return &os.PathError{Op: "read the access list of", Path: folder, Err: err}
	}
	old, _, err := sd.DACL()
	if err != nil {
		return &os.PathError{Op: "read the access list of", Path: folder, Err: err}
	}
	acl, err := windows.ACLFromEntries([]windows.EXPLICIT_ACCESS{grant(account, rights)}, old)
	if err != nil {
		return &os.PathError{Op: "set the access list of", Path: folder, Err: err}
	}
	if err := windows.SetNamedSecurityInfo(folder, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION, nil, nil, acl, nil); err != nil {
		return &os.PathError{Op: "set the access list of", Path: folder, Err: err}
	}
	return nil
}
