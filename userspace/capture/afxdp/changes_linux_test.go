package afxdp

import (
	"net"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// An interface that is down when capturing begins is told and waited for, by each of its workers.
func TestDownAtStart(t *testing.T) {
	w := newWire(t, 1500, 2)
	w.up(false)
	e, err := Open(Options{Interface: "in", Namespace: w.namespace(), Promiscuous: true})
	if err != nil {
		t.Fatal(err)
	}
	if e.Workers() != 2 || e.Stats().Error == "" || w.program() != 0 || w.promiscuous() != 0 {
		t.Errorf("got %d workers, %+v; program %d, promiscuous %d", e.Workers(), e.Stats(), w.program(), w.promiscuous())
	}
	r := run(t, e)
	w.up(true)
	r.await("the interface to be captured from", func(_ []seen, s traffic.CaptureStats) bool { return s.Error == "" && s.Restarts == 1 })
	sent := w.send(frame(100), 1000, 10)
	r.await("frames", func(frames []seen, _ traffic.CaptureStats) bool { return ours(frames, sent, whole) == 10 })
	r.stop()
	if s := r.Stats(); s.Restarts != 1 || w.program() != 0 || w.promiscuous() != 0 {
		t.Errorf("got %+v; left: program %d, promiscuous %d", s, w.program(), w.promiscuous())
	}
}

// Queues that an interface gets while it is captured from are captured as well, those that it loses are let go when it goes away.
func TestQueuesChange(t *testing.T) {
	for _, workers := range []int{1, 0} {
		w := newWire(t, 1500, 3)
		w.setQueues(w.sender, "out", 1)
		w.setQueues(w.receiver, "in", 1)
		e, err := Open(Options{Interface: "in", Namespace: w.namespace(), Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		r := run(t, e)
		w.setQueues(w.receiver, "in", 3)
		w.setQueues(w.sender, "out", 3)
		rounds := 0 // of the worker since it knows of them: it opens them in the round after which it is idle
		r.await("three queues", func(_ []seen, s traffic.CaptureStats) bool {
			if e.queues.Load() == 3 && s.Error == "" {
				rounds++
			}
			return rounds > 2
		})
		const most = 1000
		sent := w.send(frame(100), 50000, most)
		r.await("all frames", func(frames []seen, _ traffic.CaptureStats) bool { return ours(frames, sent, whole) == most })

		w.remove()
		r.await("the loss to be told", func(_ []seen, s traffic.CaptureStats) bool { return s.Error != "" })
		w.queues = 2
		w.link()
		r.await("the way back with two queues", func(_ []seen, s traffic.CaptureStats) bool {
			return e.queues.Load() == 2 && s.Error == "" && s.Restarts == 1
		})
		w.send(frame(100), 50000, most)
		r.await("all frames again", func(frames []seen, _ traffic.CaptureStats) bool { return ours(frames, sent, whole) == 2*most })
		r.stop()
		if got := len(e.workers[0].inlets); got != 2 || e.Workers() != 1 {
			t.Errorf("got %d queues of %d workers, want 2 of 1", got, e.Workers())
		}
		if err := w.lab.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// setQueues does what `ethtool -L INTERFACE rx N tx N` does.
func (w *wire) setQueues(h *lab.Host, name string, n uint32) {
	w.t.Helper()
	err := h.Do(func() error {
		device, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		c, err := channels(fd, device.Name)
		if err != nil {
			return err
		}
		c.command, c.receive, c.transmit = unix.ETHTOOL_SCHANNELS, n, n
		request := ifreq{data: unsafe.Pointer(&c)}
		copy(request.name[:unix.IFNAMSIZ-1], name)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
		runtime.KeepAlive(&c)
		if errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}
