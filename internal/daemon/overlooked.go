package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"scandrop/internal/config"
	"scandrop/watcher"
)

// Overlooked says why the configuration's daemon knows nothing of the file at
// path, which is absolute, and the way out.
func Overlooked(c *config.Config, path string) (reason, hint string) {
	var owner *config.Folder
	for i, f := range c.Folders {
		if lies(path, f.Path) && (owner == nil || lies(f.Path, owner.Path)) {
			owner = &c.Folders[i]
		}
	}
	away := ""
	for _, f := range c.Folders {
		for _, dir := range []string{c.State, f.Originals.Done, f.Originals.Failed} {
			if dir != config.Stay && lies(path, dir) {
				away = dir
			}
		}
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file, and no job of it is known", `"scandrop queue list --search NAME" finds scans that were moved`
	case err != nil:
		return fmt.Sprintf("it cannot be read: %v", err), "ask whoever runs scandrop on this machine"
	case away != "":
		return "it lies in " + away + ", which is never watched", "copy it into a hot folder itself to have it read"
	case owner == nil:
		return "it lies in no hot folder of the configuration " + c.Path, "put it into one of those under folders, or add its folder there"
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return "it is a folder", "name a scan in it"
	case mode&fs.ModeSymlink != 0:
		return "it is a symbolic link, and those are never followed", "put the scan itself into the hot folder, or make a folder of the configuration of where it lies"
	case !mode.IsRegular():
		return "it is not a regular file", "put the scan itself into the hot folder"
	}
	f := watcher.Folder{Path: owner.Path, Recursive: owner.Recursive, Include: owner.Include, Exclude: owner.Exclude}
	if why := watcher.Overlooked(f, path); why != "" {
		return why, "rename it, or change the keys of its folder in the configuration"
	}
	if end := watcher.EndMissing(path); end != "" && owner.Incomplete != "upload" {
		return "it has not been taken yet: " + end + ", and its end is waited for",
			"if that does not come within a minute or so it is rejected for it; scan it again, or have such scans taken with incomplete: upload"
	}
	return fmt.Sprintf("it has not been taken yet: that happens once it has not changed for a while, at the next look at its folder (%v apart)", owner.Rescan),
		`see that scandrop runs ("scandrop status"); what lay there before with existing: ignore, or was forgotten, is taken when it changes`
}

// lies reports whether path lies below dir.
func lies(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != "." && filepath.IsLocal(rel)
}
