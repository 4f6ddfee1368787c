package plugin

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

func TestBucket(t *testing.T) {
	b := bucket{rate: 10}
	at := now()
	for i, tt := range []struct {
		after time.Duration
		n     int
		want  bool
	}{
		{0, 11, false}, {0, 10, true}, {0, 1, false}, {100 * time.Millisecond, 2, false}, {0, 1, true},
		{time.Hour, 11, false}, {0, 10, true}, {-time.Hour, 1, false}, {0, 0, true}, {time.Second, 10, true},
	} {
		at = at.Add(tt.after)
		if got := b.take(tt.n, at); got != tt.want {
			t.Errorf("step %d: %t", i, got)
		}
	}
}

func TestDetectionsEndWhenNobodyRepeatsThem(t *testing.T) {
	b := newBook(2, time.Minute)
	var said []string
	tell := func(d Detection) error {
		if d.Reason == "no" {
			return errors.New("refused")
		}
		said = append(said, fmt.Sprintf("%s %s %s", d.Kind, d.Target.Addr(), d.Started.Sub(now())))
		return nil
	}
	say := func(address, reason string, after time.Duration) error {
		_, err := b.say(&Detection{
			Target: netip.PrefixFrom(netip.MustParseAddr(address), 32), Reason: reason, Started: now().Add(after), At: now().Add(after),
		}, tell)
		return err
	}
	expire := func(after time.Duration) { b.expire(now().Add(after), false, "not repeated", tell) }
	if err := say("192.0.2.9", "no", 0); err == nil || b.size.Load() != 0 {
		t.Errorf("refused detection entered: %v", err)
	}
	if err := errors.Join(say("192.0.2.1", "", 0), say("192.0.2.2", "", 0), say("192.0.2.1", "", 50*time.Second)); err != nil {
		t.Error(err)
	}
	if err := say("192.0.2.3", "", 0); !errors.As(err, new(errBookFull)) {
		t.Errorf("error %v, want that it is full", err)
	}
	expire(59 * time.Second)
	expire(60 * time.Second)
	expire(109 * time.Second)
	expire(110 * time.Second)
	want := []string{"started 192.0.2.1 0s", "started 192.0.2.2 0s", "continues 192.0.2.1 0s", "ended 192.0.2.2 0s", "ended 192.0.2.1 0s"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("said (-want +got)\n%s", diff)
	}
	if b.size.Load() != 0 {
		t.Errorf("%d left", b.size.Load())
	}
}

func TestChangesTakeNoMoreRoomThanTheyMay(t *testing.T) {
	c := newChanges(4)
	large := traffic.Change{Report: strings.Repeat("x", 3*changeRoom)}
	huge := traffic.Change{Report: strings.Repeat("x", 10*changeRoom)}
	if n, _ := c.addNow([]traffic.Change{large, large}); n != 1 {
		t.Errorf("%d taken, want 1", n)
	}
	if _, _, _, ok := c.take(2, 1); ok {
		t.Error("took what was never given")
	}
	if next, _, _, ok := c.take(1, 1); !ok || len(next) != 0 || c.room != 0 {
		t.Errorf("%d left, %d bytes", len(next), c.room)
	}
	if n, _ := c.addNow([]traffic.Change{huge, {}}); n != 1 {
		t.Errorf("%d taken, want the huge one alone", n)
	}
	if next, number, _, ok := c.take(0, 5); !ok || len(next) != 1 || number != 2 {
		t.Errorf("%d from %d", len(next), number)
	}
}

func TestBusiest(t *testing.T) {
	var hosts []traffic.HostRate
	for i, packets := range []uint64{5, 9, 9, 1} {
		h := traffic.HostRate{Host: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(9 - i)}), 32)}
		h.Outgoing.Total.Packets = packets
		hosts = append(hosts, h)
	}
	if diff := cmp.Diff([]int{2, 1, 0}, busiest(hosts, 3)); diff != "" {
		t.Errorf("order (-want +got)\n%s", diff)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := func() Options {
		return Options{Name: "a", Command: []string{"/bin/true"}, Kinds: []Kind{KindSink}, Folder: "/run/weir/plugins"}
	}
	for want, spoil := range map[string]func(*Options){
		"":                                       func(*Options) {},
		"its name must be":                       func(o *Options) { o.Name = "../a" },
		"its command must begin":                 func(o *Options) { o.Command = []string{"true"} },
		"it has no kind":                         func(o *Options) { o.Kinds = nil },
		"kind(9) is not a kind":                  func(o *Options) { o.Kinds = []Kind{9} },
		"the folder of sockets":                  func(o *Options) { o.Folder = "plugins" },
		"is longer than 103 bytes":               func(o *Options) { o.Folder = "/" + strings.Repeat("a", 100) },
		`environment "=b": expected KEY=VALUE`:   func(o *Options) { o.Environment = []string{"=b"} },
		"a mitigator needs the function Applied": func(o *Options) { o.Kinds = []Kind{KindMitigator} },
	} {
		o := good()
		spoil(&o)
		_, err := New(o, Callbacks{}, nilLog())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestSocketIsClosedToOthers(t *testing.T) {
	o := testOptions(t, "fine")
	o.Folder += "/plugins"
	p, log, _ := start(t, o, nothing())
	log.message(t, "plug-in is up")
	for path, want := range map[string]os.FileMode{o.Folder: 0o700, p.options.folder(): 0o700, p.options.socket(): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

func TestUnknownUserIsAnError(t *testing.T) {
	o := testOptions(t, "fine")
	o.User = "weir-no-such-user"
	p, err := New(o, nothing(), nilLog())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "useradd --system weir-no-such-user") {
		t.Errorf("error %v", err)
	}
}
