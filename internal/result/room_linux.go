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
	unit := s.Frsize // what blocks are counted in, where it differs from the size for transfers
	if unit <= 0 {
		unit = s.Bsize
	}
	return s.Bavail * uint64(unit), nil
}
