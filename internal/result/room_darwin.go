package result

import (
	"math"

	"golang.org/x/sys/unix"
)

func room(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	if s.Blocks == 0 {
		return math.MaxUint64, nil
	}
	return s.Bavail * uint64(s.Bsize), nil
}
