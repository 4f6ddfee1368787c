package loader

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// watchBuffer holds the link messages of some thousand interfaces that change at once, in bytes.
	watchBuffer = 4 << 20
	// watchRetry is how long to wait when the subscription cannot be renewed, which needs a machine without memory or files.
	watchRetry = time.Second
)

// watch is a subscription to the kernel's link messages in the namespace of the thread that made it.
type watch struct {
	updates chan netlink.LinkUpdate
	done    chan struct{}
}

func subscribe(log *slog.Logger) (*watch, error) {
	w := &watch{updates: make(chan netlink.LinkUpdate, 64), done: make(chan struct{})}
	err := netlink.LinkSubscribeWithOptions(w.updates, w.done, netlink.LinkSubscribeOptions{
		ErrorCallback: func(err error) {
			select {
			case <-w.done: // the end of reading from a socket that we closed
			default:
				log.Warn("link messages interrupted", "error", err)
			}
		},
		ReceiveBufferSize:      watchBuffer,
		ReceiveBufferForceSize: true, // beyond rmem_max; we have CAP_NET_ADMIN or could not attach
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to link messages: %w%s", err, remedyOf(err))
	}
	return w, nil
}

// stop ends the subscription and takes what is left in it: its sender would wait for ever.
func (w *watch) stop() {
	if w.updates == nil {
		return
	}
	close(w.done)
	for range w.updates {
	}
	w.updates = nil
}

// follow keeps attachments and interfaces together until ctx ends. A message only says where to look: what is done
// depends on what the kernel then says, because messages tell of the past.
func (a *Attacher) follow(ctx context.Context) {
	retry := time.NewTimer(watchRetry)
	retry.Stop()
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-a.requests:
			r.done <- a.operate(r.do)
		case u, open := <-a.watch.updates:
			if open {
				a.handle(&u)
				continue
			}
			// The kernel closes the books when a reader is too slow (ENOBUFS): what was missed is found by looking at all.
			a.watch.updates = nil
			a.resubscribe(retry)
		case <-retry.C:
			a.resubscribe(retry)
		}
	}
}

func (a *Attacher) resubscribe(retry *time.Timer) {
	old := a.watch
	renewed, err := subscribe(a.log)
	if err != nil {
		a.log.Error("link messages not renewed", "error", err, "retry_in", watchRetry)
		retry.Reset(watchRetry)
		return
	}
	select {
	case <-old.done:
	default:
		close(old.done)
	}
	a.watch = renewed
	a.operate(func() error {
		for _, t := range a.attachments {
			a.reconcile(t)
		}
		a.pairsAfterChange()
		return nil
	})
}

func (a *Attacher) handle(u *netlink.LinkUpdate) {
	// A bridge sends messages of its own about its ports; the end of a port is not the end of the interface.
	if u.IfInfomsg.Family != unix.AF_UNSPEC {
		return
	}
	name, index := u.Link.Attrs().Name, int(u.IfInfomsg.Index)
	a.operate(func() error {
		touched := false
		for _, t := range a.attachments {
			if t.conf.Name == name || (t.status.Index != 0 && t.status.Index == index) {
				a.reconcile(t)
				touched = true
			}
		}
		if touched {
			a.pairsAfterChange()
		}
		return nil
	})
}

// reconcile looks at the interface of t and does what its state asks for.
func (a *Attacher) reconcile(t *attachment) {
	device, err := a.netlink.LinkByName(t.conf.Name)
	switch {
	case err != nil && !isNotFound(err):
		a.log.Warn("interface not looked up", "interface", t.conf.Name, "error", err)
		return
	case err != nil:
		if t.status.Index != 0 {
			a.lose(t, "the interface has vanished; it is attached again when it comes back")
		}
		return
	}
	if t.status.Index != 0 && t.status.Index != device.Attrs().Index {
		a.lose(t, "the interface was replaced by another of its name")
	}
	if t.status.Attached {
		a.verify(t)
		if t.observe(device) {
			a.report(t)
		}
		return
	}
	// Tried again only when something about the interface has changed: our own attempts cause messages too.
	if t.taken || t.refused == stateOf(device) {
		return
	}
	if err := a.attach(t, device); err != nil {
		a.log.Error("interface not attached", "interface", t.conf.Name, "error", err)
	}
}

// lose drops what was attached to an interface that is gone. An interface that only moved to another name or namespace
// takes its program along, hence the release.
func (a *Attacher) lose(t *attachment, why string) {
	if err := a.release(t, false); err != nil {
		a.log.Debug("interface released with errors", "interface", t.conf.Name, "error", err)
	}
	t.status.Index, t.status.Up, t.status.Error = 0, false, why
	t.refused, t.taken = deviceState{}, false
	a.log.Warn("interface lost", "interface", t.conf.Name, "reason", why)
	a.report(t)
}

// verify asks the kernel whether the programs of t are still where we put them, and gives the XDP link up when not: whoever
// detached it meant it, so attaching it again is left to the operator.
func (a *Attacher) verify(t *attachment) {
	if !t.status.Attached {
		return
	}
	xdp, egress := t.linked(), t.egress == nil || t.egress.alive()
	if xdp && egress {
		return
	}
	if _, err := a.netlink.LinkByIndex(t.status.Index); isNotFound(err) {
		return // the interface itself is gone: the message about that is on its way
	}
	if !egress {
		if err := t.egress.release(false); err != nil {
			a.log.Warn("egress not released", "interface", t.conf.Name, "error", err)
		}
		t.egress, t.status.Egress, t.status.Error = nil, EgressNone, egressTaken
		a.log.Error("egress program taken away", "interface", t.conf.Name, "index", t.status.Index)
		a.report(t)
	}
	if !xdp {
		if err := t.unlink(); err != nil {
			a.log.Warn("link not released", "interface", t.conf.Name, "error", err)
		}
		t.detached(xdpTaken)
		t.taken = true
		a.log.Error("program taken away", "interface", t.conf.Name, "index", t.status.Index)
		a.part(t.status.Index)
		a.report(t)
	}
}

const (
	xdpTaken    = "its XDP program was detached by somebody else; reload Weir's configuration to attach it again"
	egressTaken = "its egress program was detached by somebody else; reload Weir's configuration to attach it again"
)
