package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"weir/tests/need"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"
)

func prefixOf(t testing.TB) string {
	return fmt.Sprintf("weirlab%d-%s", os.Getpid(), strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())))
}

func openLab(t testing.TB) *Lab {
	t.Helper()
	need.Root(t)
	l, err := New(context.Background(), prefixOf(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func openHost(t testing.TB, l *Lab, name string) *Host {
	t.Helper()
	h, err := l.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// pair is two hosts, .1 and .2 (::1 and ::2), joined by "eth0".
func pair(t testing.TB, l *Lab) (a, b *Host) {
	t.Helper()
	a, b = openHost(t, l, "a"), openHost(t, l, "b")
	err := l.Link(a, "eth0", b, "eth0", LinkOptions{
		A: End{MAC: mac1, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}},
		B: End{MAC: mac2, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24"), netip.MustParsePrefix("2001:db8::2/64")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// named lists what exists under the namespace folder with the given beginning.
func named(t testing.TB, prefix string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(namespaceFolder, prefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestCloseRemovesEverything(t *testing.T) {
	l := openLab(t)
	pair(t, l)
	if got := len(named(t, l.prefix)); got != 2 {
		t.Fatalf("got %d namespaces, want 2", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := named(t, l.prefix); len(got) != 0 {
		t.Errorf("namespaces left behind: %v", got)
	}
	if _, err := os.Stat(filepath.Join(lockFolder, l.prefix)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("lock file: got %v, want it gone", err)
	}
	if _, err := l.Host("late"); err == nil {
		t.Error("a closed lab made a host")
	}
}

func TestCancelRemovesEverything(t *testing.T) {
	need.Root(t)
	ctx, cancel := context.WithCancel(context.Background())
	l, err := New(ctx, prefixOf(t))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	openHost(t, l, "a")
	var closed sync.WaitGroup
	closed.Add(1)
	if !l.atEnd(func() error { closed.Done(); return nil }) {
		t.Fatal("the lab is closed")
	}
	cancel()
	closed.Wait() // nobody but the context has asked for it
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if got := named(t, l.prefix); len(got) != 0 {
		t.Errorf("namespaces left behind: %v", got)
	}
}

func TestNewRemovesLeftovers(t *testing.T) {
	l := openLab(t)
	openHost(t, l, "a")
	openHost(t, l, "b")
	if _, err := New(context.Background(), l.prefix); err == nil {
		t.Fatal("a second lab of the same prefix was opened beside the first")
	}
	// What a kill leaves: names and lock file there, the lock free.
	if err := l.lock.Close(); err != nil {
		t.Fatal(err)
	}
	l.stop()
	l.closed = true
	stranger := filepath.Join(namespaceFolder, l.prefix+"-stranger")
	if err := os.WriteFile(stranger, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(stranger); err != nil {
			t.Error(err)
		}
	})
	next, err := New(context.Background(), l.prefix)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(named(t, l.prefix), []string{stranger}); diff != "" {
		t.Errorf("namespaces (-got +want):\n%s", diff)
	}
	if _, err := next.Host("stranger"); err == nil {
		t.Error("a namespace that is not ours was taken over")
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	for _, h := range l.hosts {
		h.netlink.Close()
		if err := h.ns.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNewRefusesNames(t *testing.T) {
	for _, prefix := range []string{"", "a/b", "../x", "a b"} {
		if _, err := New(context.Background(), prefix); err == nil {
			t.Errorf("prefix %q was taken", prefix)
		}
	}
}

func TestDoRunsInside(t *testing.T) {
	l := openLab(t)
	a, b := pair(t, l)
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := home.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, h := range []*Host{a, b} {
		err := h.Do(func() error {
			here, err := netns.Get()
			if err != nil {
				return err
			}
			if !here.Equal(h.ns) || here.Equal(home) {
				return fmt.Errorf("in %v, want %v", here, h.ns)
			}
			return here.Close()
		})
		if err != nil {
			t.Error(err)
		}
	}
	broken := errors.New("broken")
	if err := a.Do(func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the function's own error", err)
	}
}

// ownNamespace names the calling thread's network namespace.
func ownNamespace(t *testing.T) string {
	t.Helper()
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// strayThreads counts this process's threads that are in a namespace other than the given one.
func strayThreads(t *testing.T, own string) int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	stray := 0
	for _, task := range tasks {
		if ns, err := os.Readlink(task); err == nil && ns != own { // a thread may end while we look
			stray++
		}
	}
	return stray
}

func TestDoLeavesNoThreadBehind(t *testing.T) {
	own := ownNamespace(t)
	l := openLab(t)
	a := openHost(t, l, "a")
	var inside, release sync.WaitGroup
	var group sync.WaitGroup
	inside.Add(8)
	release.Add(1)
	for range 8 {
		group.Go(func() {
			if err := a.Do(func() error { inside.Done(); release.Wait(); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	inside.Wait()
	if got := strayThreads(t, own); got < 8 {
		t.Errorf("%d threads are seen inside while 8 are", got)
	}
	release.Done()
	group.Wait()
	for range 200 {
		if err := a.Do(func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if got := strayThreads(t, own); got != 0 {
		t.Errorf("%d threads were left in a namespace", got)
	}
}
