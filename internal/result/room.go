package result

import "os"

// Room returns how many bytes a user like us may still write on the disk, or
// within the quota, of the folder dir. A file system that does not say how
// large it is has all the room there can be.
func Room(dir string) (free uint64, err error) {
	free, err = room(dir)
	if err != nil {
		return 0, &os.PathError{Op: "ask for the free space of", Path: dir, Err: err}
	}
	return free, nil
}
