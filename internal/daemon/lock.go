package daemon

import (
	"errors"
	"fmt"
	"os"
	"time"

	"scandrop/queue"
)

// lockPatience is how long another process may take to open the queue, before
// it is called in use: a restore can take minutes, but nobody should wait for one.
const lockPatience = 5 * time.Second

// errLocked means that another process has the lock.
var errLocked = errors.New("locked")

// lockState takes the lock of the state folder, which ends with the process or
// with unlock. The error wraps [queue.ErrInUse] if another process keeps it.
func lockState(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		switch err := tryLock(f); {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, errLocked):
			f.Close()
			return nil, &os.PathError{Op: "lock", Path: path, Err: err}
		case time.Since(began) > lockPatience:
			f.Close()
			return nil, fmt.Errorf("%s: %w", path, queue.ErrInUse)
		}
	}
}
