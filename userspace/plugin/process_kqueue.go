//go:build unix && !linux

package plugin

import (
	"errors"

	"golang.org/x/sys/unix"
)

// awaitEnd returns when the child has ended, and leaves it to be waited for. It reports false when it cannot tell.
func awaitEnd(pid int) bool {
	queue, err := unix.Kqueue()
	if err != nil {
		return false
	}
	defer unix.Close(queue)
	var want unix.Kevent_t
	unix.SetKevent(&want, pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	want.Fflags = unix.NOTE_EXIT
	got := make([]unix.Kevent_t, 1)
	for {
		_, err := unix.Kevent(queue, []unix.Kevent_t{want}, got, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ESRCH): // it had ended before it was asked about
			return true
		}
		return err == nil
	}
}
