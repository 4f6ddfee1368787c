package plugin

import (
	"errors"

	"golang.org/x/sys/unix"
)

// awaitEnd returns when the child has ended, and leaves it to be waited for. It reports false when it cannot tell.
func awaitEnd(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}
