package daemon

import (
	"sync"

	"scandrop/watcher"
)

// existing are the scans that lay in a folder with existing: ignore when it was looked
// at for the first time since the queue was restored. Nobody can tell which of them lay
// there before and which came later and were forgotten with the queue: they are added
// as [queue.Scan.Old], and the folder counts as introduced when all of them are.
type existing struct {
	mu      sync.Mutex
	folders map[string]*lying
}

type lying struct {
	added  map[string]bool // by path
	beside int             // that are not added yet
}

func (e *existing) note(files []watcher.File) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range files {
		if e.folders == nil {
			e.folders = map[string]*lying{}
		}
		in := e.folders[f.Folder]
		if in == nil {
			in = &lying{added: map[string]bool{}}
			e.folders[f.Folder] = in
		}
		if _, known := in.added[f.Path]; !known {
			in.added[f.Path] = false
			in.beside++
		}
	}
}

// has reports whether a file is one of them. One that was added may come again, as when
// its folder asks for other work now, and is then still one as long as the queue is
// rebuilding.
func (e *existing) has(f watcher.File, rebuilding bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	in := e.folders[f.Folder]
	if in == nil {
		return false
	}
	added, known := in.added[f.Path]
	return known && (!added || rebuilding)
}

// added takes note that files were, and returns the folders of which none is left.
func (e *existing) added(files []watcher.File) (folders []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range files {
		in := e.folders[f.Folder]
		if in == nil {
			continue
		}
		if added, known := in.added[f.Path]; !known || added {
			continue
		}
		in.added[f.Path] = true
		if in.beside--; in.beside == 0 {
			folders = append(folders, f.Folder)
		}
	}
	return folders
}

// waits reports whether a folder has files that are still to be added.
func (e *existing) waits(folder string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	in := e.folders[folder]
	return in != nil && in.beside > 0
}
