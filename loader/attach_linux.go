package loader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Attacher keeps programs attached to interfaces for as long as Run runs: it follows the kernel's link messages, attaches
// again to an interface that vanished and came back, and reports when somebody takes a program away.
//
// One goroutine, on a thread of its own inside the namespace, changes anything; the lock lets Status look meanwhile.
type Attacher struct {
	opts     AttachOptions
	log      *slog.Logger
	requests chan request
	started  chan struct{}
	stopped  chan struct{}
	ran      atomic.Bool

	mu          sync.Mutex
	set         ProgramSet
	attachments []*attachment // in the order of the configuration
	pairs       map[int]int   // what SetPair was told, by interface index
	changed     []InterfaceStatus
	madePinPath bool
	ownQdisc    map[int]bool // interfaces whose clsact qdisc we made

	// Of the goroutine of run alone.
	netlink *netlink.Handle
	watch   *watch
}

type request struct {
	do   func() error
	done chan error
}

// NewAttacher checks its arguments and does nothing else; Run attaches.
func NewAttacher(set ProgramSet, opts AttachOptions, interfaces []Interface) (*Attacher, error) {
	if err := errors.Join(opts.check(), checkInterfaces(interfaces)); err != nil {
		return nil, fmt.Errorf("make attacher: %w", err)
	}
	if err := set.check(interfaces); err != nil {
		return nil, fmt.Errorf("make attacher: %w", err)
	}
	log := opts.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	a := &Attacher{
		opts:     opts,
		log:      log.With("component", "attacher"),
		requests: make(chan request),
		started:  make(chan struct{}),
		stopped:  make(chan struct{}),
		set:      set,
		pairs:    make(map[int]int),
		ownQdisc: make(map[int]bool),
	}
	for _, i := range interfaces {
		a.attachments = append(a.attachments, newAttachment(i))
	}
	return a, nil
}

// Run attaches to all interfaces and keeps them attached until ctx ends. It fails when one of them does not exist or
// refuses, with nothing left attached that it has attached itself; later, missing interfaces are waited for. It runs once.
func (a *Attacher) Run(ctx context.Context) error {
	if !a.ran.CompareAndSwap(false, true) {
		return errors.New("run attacher: it has run before; make another one")
	}
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread has entered another namespace, so it has to end with the goroutine.
		runtime.LockOSThread()
		result <- a.run(ctx)
	}()
	err := <-result
	close(a.stopped)
	return err
}

// Started returns a channel that closes when all interfaces are attached for the first time.
func (a *Attacher) Started() <-chan struct{} { return a.started }

// Status returns the state of all interfaces in the order of the configuration. It asks the kernel whether the links are
// still in place: a link that somebody detaches by force causes no message.
func (a *Attacher) Status() []InterfaceStatus {
	var list []InterfaceStatus
	a.operate(func() error {
		for _, t := range a.attachments {
			a.verify(t)
			list = append(list, t.snapshot())
		}
		return nil
	})
	return list
}

// Update brings another list of interfaces into force: attaches what is new, detaches what is gone, leaves alone what is
// unchanged, except that it tries again where a program was refused or taken away. On an error everything is as before.
func (a *Attacher) Update(ctx context.Context, interfaces []Interface) error {
	if err := checkInterfaces(interfaces); err != nil {
		return fmt.Errorf("update interfaces: %w", err)
	}
	return a.request(ctx, "update interfaces", func() error { return a.update(interfaces) })
}

// Replace puts another set of programs in the place of the attached ones, link by link, without a packet unseen between
// the old program and the new one. Pairs are set in the new set first. On an error the old set is back in force.
func (a *Attacher) Replace(ctx context.Context, set ProgramSet) error {
	return a.request(ctx, "replace programs", func() error { return a.replace(set) })
}

// request has the goroutine of run do something, and waits for it.
func (a *Attacher) request(ctx context.Context, what string, do func() error) error {
	r := request{do: do, done: make(chan error, 1)}
	select {
	case a.requests <- r:
	case <-a.stopped:
		return fmt.Errorf("%s: the attacher has stopped", what)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	if err := <-r.done; err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (a *Attacher) run(ctx context.Context) error {
	if a.opts.Namespace != nil {
		if err := unix.Setns(int(a.opts.Namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %q: %w%s", a.opts.Namespace.Name(), err, remedyOf(err))
		}
	}
	var err error
	if a.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	defer a.netlink.Close()
	// Subscribed before the first look, so that no change falls between the two.
	if a.watch, err = subscribe(a.log); err != nil {
		return err
	}
	defer func() { a.watch.stop() }()

	if err := a.operate(a.start); err != nil {
		return err
	}
	close(a.started)
	a.follow(ctx)
	return a.operate(func() error { return a.stop(a.opts.OnStop == StopKeep) })
}

// operate runs do under the lock and then passes on what it changed. Notify is called with the lock held, one call at a
// time and in order.
func (a *Attacher) operate(do func() error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := do()
	if a.opts.Notify != nil {
		for _, s := range a.changed {
			a.opts.Notify(s)
		}
	}
	a.changed = a.changed[:0]
	return err
}

// start attaches everything, or what it attached itself is detached again. Links of an earlier daemon that it had adopted
// stay when they may: a configuration with a mistake is no reason to drop a mitigation that works.
func (a *Attacher) start() error {
	if err := a.makePinPath(); err != nil {
		return err
	}
	var failed []error
	for _, t := range a.attachments {
		device, err := a.device(t.conf.Name)
		if err == nil {
			err = a.attach(t, device)
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 {
		if err := a.syncPairs(); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 {
		a.sweep()
		return nil
	}
	for _, t := range a.attachments {
		if err := a.release(t, t.status.Adopted && a.opts.OnStop == StopKeep); err != nil {
			failed = append(failed, err)
		}
	}
	a.removePinPath()
	return errors.Join(failed...)
}

// stop releases everything in reverse order.
func (a *Attacher) stop(keep bool) error {
	var failed []error
	if !keep {
		failed = append(failed, a.clearPairs())
	}
	for n := len(a.attachments) - 1; n >= 0; n-- {
		failed = append(failed, a.release(a.attachments[n], keep))
	}
	if !keep {
		a.removePinPath()
	}
	return errors.Join(failed...)
}

func (a *Attacher) update(want []Interface) error {
	if err := a.set.check(want); err != nil {
		return err
	}
	old := make(map[string]*attachment, len(a.attachments))
	for _, t := range a.attachments {
		old[t.conf.Name] = t
	}
	var list []*attachment
	var undo []func() error
	back := func(err error) error {
		for n := len(undo) - 1; n >= 0; n-- {
			err = errors.Join(err, undo[n]())
		}
		return errors.Join(err, a.syncPairs())
	}
	for _, conf := range want {
		t, known := old[conf.Name]
		if known {
			before := t.conf
			undo = append(undo, func() error { return a.change(t, before) })
			if err := a.change(t, conf); err != nil {
				return back(err)
			}
			delete(old, conf.Name)
		} else {
			t = newAttachment(conf)
			device, err := a.device(conf.Name)
			if err == nil {
				err = a.attach(t, device)
			}
			if err != nil {
				return back(err)
			}
			undo = append(undo, func() error { return a.release(t, false) })
		}
		list = append(list, t)
	}
	previous := a.attachments
	a.attachments = list
	if err := a.syncPairs(); err != nil {
		a.attachments = previous
		return back(err)
	}
	for _, t := range old {
		if err := a.release(t, false); err != nil {
			a.log.Warn("interface not wholly released", "interface", t.conf.Name, "error", err)
		}
		a.log.Info("interface detached", "interface", t.conf.Name)
	}
	return nil
}

func (a *Attacher) replace(set ProgramSet) error {
	confs := make([]Interface, 0, len(a.attachments))
	for _, t := range a.attachments {
		confs = append(confs, t.conf)
	}
	if err := set.check(confs); err != nil {
		return err
	}
	for index, pair := range a.pairs {
		if err := set.SetPair(index, pair); err != nil {
			return fmt.Errorf("pair interface %d with %d: %w", index, pair, err)
		}
	}
	previous := a.set
	for n, t := range a.attachments {
		err := t.swap(set)
		if err == nil {
			continue
		}
		for _, done := range a.attachments[:n+1] {
			err = errors.Join(err, done.swap(previous))
		}
		return err
	}
	a.set = set
	return nil
}

// device looks an interface up, with the existing ones in the error.
func (a *Attacher) device(name string) (netlink.Link, error) {
	device, err := a.netlink.LinkByName(name)
	if err == nil {
		return device, nil
	}
	if !isNotFound(err) {
		return nil, fmt.Errorf("look up interface %q: %w", name, err)
	}
	return nil, fmt.Errorf("find interface %q: there is none; %s", name, existing(a.netlink))
}

func isNotFound(err error) bool {
	var none netlink.LinkNotFoundError
	return errors.As(err, &none) || errors.Is(err, unix.ENODEV)
}

func (a *Attacher) makePinPath() error {
	if a.opts.PinPath == "" {
		return nil
	}
	_, err := os.Stat(a.opts.PinPath)
	a.madePinPath = errors.Is(err, os.ErrNotExist)
	if err := os.MkdirAll(a.opts.PinPath, 0o700); err != nil {
		return fmt.Errorf("make pin folder: %w%s", err, remedyOf(err))
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(a.opts.PinPath, &fs); err != nil {
		return fmt.Errorf("look at pin folder %q: %w", a.opts.PinPath, err)
	}
	// The type's width differs between architectures; the magic number has 32 bits.
	if uint32(fs.Type) == unix.BPF_FS_MAGIC {
		return nil
	}
	a.removePinPath()
	return fmt.Errorf("pin links at %q: no BPF file system is mounted there; mount -t bpf bpf /sys/fs/bpf, and choose a folder below it",
		a.opts.PinPath)
}

// removePinPath removes the folder if it is ours and empty; other things pinned there are somebody else's to remove.
func (a *Attacher) removePinPath() {
	if !a.madePinPath {
		return
	}
	if err := os.Remove(a.opts.PinPath); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, os.ErrNotExist) {
		a.log.Warn("pin folder not removed", "path", a.opts.PinPath, "error", err)
	}
}
