package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/vishvananda/netns"
)

// Lab is a set of namespaces with a common prefix, owned by this process.
//
// The names are written down in a file that the process holds a lock on before they are used, so that the next lab of the same
// prefix can remove what a killed process has left behind, and only that.
type Lab struct {
	prefix string
	stop   func() bool // of the context's watcher

	mu     sync.Mutex
	lock   *os.File
	hosts  []*Host
	ending []func() error // what to close before the namespaces go, the latest first
	closed bool
	err    error // what closing returned
}

// New opens a lab and removes what dead processes have left of theirs, of this or any other prefix. It is refused with ErrBusy
// while another process uses the prefix. The lab closes itself when ctx ends; a caller that waits for Close then finds
// everything removed. It needs CAP_SYS_ADMIN and CAP_NET_ADMIN.
func New(ctx context.Context, prefix string) (*Lab, error) {
	if !namePattern().MatchString(prefix) {
		return nil, fmt.Errorf("open lab %q: the prefix must be letters, digits, hyphens and underscores", prefix)
	}
	lock, err := openLock(prefix)
	if err != nil {
		return nil, fmt.Errorf("open lab %s: %w", prefix, err)
	}
	l := &Lab{prefix: prefix, lock: lock}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop = context.AfterFunc(ctx, func() { _ = l.Close() }) // Close keeps its error for whoever else calls it
	return l, nil
}

func namePattern() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`) }

// Host makes a network namespace named PREFIX-NAME, which `ip netns` lists, with its loopback interface up.
func (l *Lab) Host(name string) (*Host, error) {
	if !namePattern().MatchString(name) {
		return nil, fmt.Errorf("make host %q: the name must be letters, digits, hyphens and underscores", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fmt.Errorf("make host %s: the lab is closed", name)
	}
	full := l.prefix + "-" + name
	if _, err := os.Lstat(filepath.Join(namespaceFolder, full)); err == nil {
		return nil, fmt.Errorf("make host %s: namespace %s exists and is not of this lab", name, full)
	}
	if _, err := l.lock.WriteAt([]byte(l.names()+full+"\n"), 0); err != nil {
		return nil, fmt.Errorf("make host %s: note its name: %w", name, err)
	}
	h := &Host{lab: l, name: name, namespace: full, ns: netns.None()}
	if err := h.create(); err != nil {
		return nil, errors.Join(fmt.Errorf("make host %s: %w", name, err), h.remove())
	}
	l.hosts = append(l.hosts, h)
	return h, nil
}

func (l *Lab) names() string {
	var b strings.Builder
	for _, h := range l.hosts {
		b.WriteString(h.namespace + "\n")
	}
	return b.String()
}

// atEnd has f called by Close before the namespaces go. It reports false when the lab is closed already.
func (l *Lab) atEnd(f func() error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.ending = append(l.ending, f)
	return true
}

// Close ends servers and probes and removes links and namespaces. It may be called more than once and from several goroutines:
// each call returns when everything is removed.
func (l *Lab) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.err
	}
	l.closed = true
	l.stop()
	var errs []error
	for i := len(l.ending) - 1; i >= 0; i-- {
		errs = append(errs, l.ending[i]())
	}
	for i := len(l.hosts) - 1; i >= 0; i-- {
		errs = append(errs, l.hosts[i].remove())
	}
	// Where something could not be removed, the next lab finds the names and tries again.
	errs = append(errs, closeLock(l.lock, errors.Join(errs...) != nil))
	if err := errors.Join(errs...); err != nil {
		l.err = fmt.Errorf("close lab %s: %w", l.prefix, err)
	}
	return l.err
}
