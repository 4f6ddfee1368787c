package digest

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

var start = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// change makes a change of an attack on a host, with so many packets per second.
func change(kind traffic.ChangeKind, id, host string, seconds float64, pps uint64) traffic.Change {
	count := traffic.Count{Packets: pps, Bytes: 100 * pps}
	c := traffic.Change{Kind: kind, At: at(seconds), Group: "servers"}
	a := &c.Record.Attack
	a.ID, a.Target = id, traffic.Target{Prefix: netip.PrefixFrom(netip.MustParseAddr(host), netip.MustParseAddr(host).BitLen())}
	a.Started, a.Detected, a.Hosts = at(0), at(0), 1
	a.Rate.Incoming.Total, a.Peak.Total, a.Volume.Total = count, count, count
	a.Trip = traffic.Trip{Metric: traffic.PPS, Count: pps, Window: time.Second, Value: float64(pps), Limit: 10}
	if kind != traffic.ChangeStarted {
		c.Record.Ban = traffic.Ban{Since: at(0), Drop: true}
	}
	if kind == traffic.ChangeEnded {
		a.Ended, a.Phase = at(seconds), traffic.PhaseOver
		c.Record.Ban.Lifted = at(seconds)
	}
	return c
}

// told is a message as far as the tests look at it.
type told struct {
	Event                   string
	Key                     string
	Closes                  []string
	Count, Ongoing, Omitted int
	Networks                []string
}

func brief(ms []Message) []told {
	var out []told
	for _, m := range ms {
		out = append(out, told{m.Event.String(), m.Key, m.Closes, m.Count, m.Ongoing, m.Omitted, m.Networks})
	}
	return out
}

func mustNew(t *testing.T, o Options) *Digest {
	t.Helper()
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestOneAttackLife(t *testing.T) {
	d := mustNew(t, Options{})
	d.Add(at(0), []traffic.Change{change(traffic.ChangeStarted, "a", "192.0.2.7", 0, 100)})
	same(t, "at first", brief(d.Messages(at(0))), []told(nil))
	same(t, "due after the wait", d.Due(), at(5))

	d.Add(at(1), []traffic.Change{change(traffic.ChangeBanned, "a", "192.0.2.7", 1, 200)})
	same(t, "due after the ban", d.Due(), at(2))
	same(t, "too early", brief(d.Messages(at(1.5))), []told(nil))
	same(t, "when banned", brief(d.Messages(at(2))), []told{{Event: "started", Key: "a", Count: 1, Ongoing: 1, Networks: []string{"192.0.2.7/32"}}})
	same(t, "nothing is due", d.Due(), time.Time{})

	d.Add(at(10), []traffic.Change{change(traffic.ChangeDescribed, "a", "192.0.2.7", 10, 200), change(traffic.ChangeDetails, "a", "192.0.2.7", 11, 200)})
	same(t, "descriptions alone are no message", d.Due(), time.Time{})
	d.Add(at(20), []traffic.Change{change(traffic.ChangeEscalated, "a", "192.0.2.7", 20, 300)})
	same(t, "escalated", brief(d.Messages(at(21))), []told{{Event: "changed", Key: "a", Count: 1, Ongoing: 1, Networks: []string{"192.0.2.7/32"}}})

	d.Add(at(30), []traffic.Change{change(traffic.ChangeUnbanned, "a", "192.0.2.7", 30, 5), change(traffic.ChangeEnded, "a", "192.0.2.7", 30, 5)})
	last := d.Messages(at(31))
	same(t, "the end is one message", brief(last), []told{{Event: "ended", Key: "a", Closes: []string{"a"}, Count: 1, Networks: []string{"192.0.2.7/32"}}})
	same(t, "peak", last[0].Peak.Total.Packets, uint64(300))
	same(t, "duration", last[0].Duration, 30*time.Second)
	same(t, "rates", last[0].Rates, []Sample{{at(0), 100, 10000}, {at(1), 200, 20000}, {at(10), 200, 20000}, {at(11), 200, 20000}, {at(20), 300, 30000}, {at(30), 0, 0}})

	d.Add(at(40), []traffic.Change{change(traffic.ChangeEnded, "a", "192.0.2.7", 30, 5), change(traffic.ChangeUnbanned, "b", "192.0.2.8", 40, 5)})
	same(t, "what was told is not told again", d.Due(), time.Time{})
	same(t, "nothing is kept", len(d.attacks)+len(d.incidents)+len(d.waiting), 0)
}

func TestShortAttackIsToldOnce(t *testing.T) {
	d := mustNew(t, Options{})
	d.Add(at(0), []traffic.Change{change(traffic.ChangeStarted, "a", "192.0.2.7", 0, 100), change(traffic.ChangeEnded, "a", "192.0.2.7", 1, 100)})
	same(t, "one message", brief(d.Messages(at(1))), []told{{Event: "ended", Key: "a", Closes: []string{"a"}, Count: 1, Networks: []string{"192.0.2.7/32"}}})
}

func TestAttackFromBeforeTheStartIsClosed(t *testing.T) {
	d := mustNew(t, Options{})
	d.Add(at(0), []traffic.Change{change(traffic.ChangeEnded, "old", "192.0.2.7", 0, 100)})
	same(t, "message", brief(d.Messages(at(1))), []told{{Event: "ended", Key: "old", Closes: []string{"old"}, Count: 1, Networks: []string{"192.0.2.7/32"}}})
}

func TestSameChangesAgainChangeNothing(t *testing.T) {
	d := mustNew(t, Options{})
	changes := []traffic.Change{change(traffic.ChangeStarted, "a", "192.0.2.7", 0, 100), change(traffic.ChangeBanned, "a", "192.0.2.7", 0, 100), change(traffic.ChangeEscalated, "a", "192.0.2.7", 1, 100)}
	d.Add(at(1), changes)
	same(t, "first", len(d.Messages(at(2))), 1)
	d.Add(at(3), changes)
	same(t, "again", d.Due(), time.Time{})
}

func TestCarpetBombingIsOneMessage(t *testing.T) {
	d := mustNew(t, Options{})
	var begin, end []traffic.Change
	for i := 1; i <= 254; i++ {
		id, host := fmt.Sprintf("a%03d", i), fmt.Sprintf("192.0.2.%d", i)
		s := float64(i) / 1000
		begin = append(begin, change(traffic.ChangeStarted, id, host, s, uint64(1000+i)), change(traffic.ChangeBanned, id, host, s, uint64(1000+i)))
		end = append(end, change(traffic.ChangeEnded, id, host, 60+s, uint64(1000+i)))
	}
	d.Add(at(0.3), begin[:400])
	ms := d.Messages(at(1.3))
	want := []string{"192.0.2.0/24"}
	same(t, "one message", brief(ms), []told{{Event: "started", Key: "a001+199", Count: 200, Ongoing: 200, Networks: want}})
	if got := ms[0].Title(); !strings.HasPrefix(got, "Attacks on 200 hosts of 192.0.2.0/24, strongest 192.0.2.200, ") {
		t.Errorf("title is %q", got)
	}
	same(t, "listed", len(ms[0].Attacks), MaxListed)

	d.Add(at(2), begin[400:])
	same(t, "others join and say nothing yet", brief(d.Messages(at(7))), []told(nil))
	same(t, "but later", d.Due(), at(61.3))
	same(t, "summed up", brief(d.Messages(at(61.3))), []told{{Event: "changed", Key: "a001+199", Count: 254, Ongoing: 254, Networks: want}})

	d.Add(at(61.5), end)
	last := d.Messages(at(62.5))
	same(t, "ended", brief(last), []told{{Event: "ended", Key: "a001+199", Closes: []string{"a001+199"}, Count: 254, Networks: want}})
	sum := uint64(0)
	for i := range 254 {
		sum += uint64(1001 + i)
	}
	same(t, "peak of all together", last[0].Peak.Total.Packets, sum)
	same(t, "volume of all together", last[0].Volume.Total.Packets, sum)
	same(t, "nothing is kept", len(d.attacks)+len(d.incidents)+len(d.waiting), 0)
	same(t, "no more", d.Due(), time.Time{})
}

func TestManyNetworksAreOneMessage(t *testing.T) {
	d := mustNew(t, Options{})
	var begin []traffic.Change
	for i := range 50 {
		begin = append(begin, change(traffic.ChangeStarted, fmt.Sprintf("a%02d", i), fmt.Sprintf("10.%d.0.1", i), 0, 100))
	}
	begin = append(begin, change(traffic.ChangeStarted, "v6", "2001:db8::1", 0, 100))
	d.Add(at(0), begin)
	ms := d.Messages(at(5))
	same(t, "messages", len(ms), 1)
	same(t, "count", ms[0].Count, 51)
	if got := ms[0].Title(); !strings.HasPrefix(got, "Attacks on 51 hosts in 10 or more networks, strongest 10.0.0.1, ") {
		t.Errorf("title is %q", got)
	}
}

func TestRateLimitSumsUp(t *testing.T) {
	d := mustNew(t, Options{Messages: 3, Interval: time.Minute})
	for i := range 3 {
		s := float64(i) * 6
		d.Add(at(s), []traffic.Change{change(traffic.ChangeStarted, fmt.Sprintf("a%d", i), fmt.Sprintf("10.%d.0.1", i), s, 100)})
		same(t, "has room", len(d.Messages(at(s+5))), 1)
	}
	for i := 3; i < 6; i++ {
		s := float64(i) * 6
		d.Add(at(s), []traffic.Change{change(traffic.ChangeStarted, fmt.Sprintf("a%d", i), fmt.Sprintf("10.%d.0.1", i), s, 100)})
		same(t, "no room", len(d.Messages(at(s+5))), 0)
	}
	var ends []traffic.Change
	for i := range 3 {
		ends = append(ends, change(traffic.ChangeEnded, fmt.Sprintf("a%d", i), fmt.Sprintf("10.%d.0.1", i), 50, 100))
	}
	d.Add(at(50), ends)
	same(t, "due when there is room", d.Due(), at(65))
	same(t, "the waiting ones in the first place free", brief(d.Messages(at(65))), []told{{Event: "started", Key: "a3+2", Count: 3, Ongoing: 3,
		Networks: []string{"10.3.0.0/24", "10.4.0.0/24", "10.5.0.0/24"}}})
	same(t, "then the ends together", brief(d.Messages(at(71))), []told{{Event: "ended", Key: "a0", Closes: []string{"a0", "a1", "a2"}, Count: 3,
		Networks: []string{"10.0.0.1/32", "10.1.0.1/32", "10.2.0.1/32"}}})
}

func TestMemoryIsBounded(t *testing.T) {
	d := mustNew(t, Options{MaxAttacks: 10})
	told := 0
	for i := range 1000 {
		s := float64(i)
		id, host := fmt.Sprintf("a%d", i), fmt.Sprintf("10.%d.%d.1", i/256, i%256)
		d.Add(at(s), []traffic.Change{change(traffic.ChangeStarted, id, host, s, 100)})
		for _, m := range d.Messages(at(s)) {
			told += m.Omitted
		}
		if n := len(d.attacks) + len(d.past[0]) + len(d.past[1]); n > 30 {
			t.Fatalf("%d attacks are remembered after %d changes", n, i)
		}
	}
	if told == 0 || told+d.omitted != 990 {
		t.Errorf("%d attacks were told as omitted and %d will be, want 990 in all", told, d.omitted)
	}
	var s samples
	for i := range 100_000 {
		s.add(Sample{Time: at(float64(i)), Packets: uint64(i)})
	}
	if n := len(s.list); n > MaxSamples || n < MaxSamples/4 || s.list[n-1].Packets != 99_999 {
		t.Errorf("%d samples are kept, the last %v", n, s.list[n-1])
	}
}

func TestObserveMeasuresAttacks(t *testing.T) {
	d := mustNew(t, Options{})
	d.Add(at(0), []traffic.Change{change(traffic.ChangeBanned, "a", "192.0.2.7", 0, 100)})
	same(t, "told", len(d.Messages(at(1))), 1)
	host := func(p string, pps uint64) traffic.HostRate {
		h := traffic.HostRate{Host: netip.MustParsePrefix(p)}
		h.Incoming.Total = traffic.Count{Packets: pps, Bytes: pps}
		return h
	}
	d.Observe(&traffic.Snapshot{Time: at(2), Hosts: []traffic.HostRate{host("192.0.2.6/32", 1), host("192.0.2.7/32", 700), host("192.0.2.8/32", 9000)}})
	d.Observe(&traffic.Snapshot{Time: at(3), Hosts: []traffic.HostRate{host("192.0.2.6/32", 1)}})
	d.Add(at(4), []traffic.Change{change(traffic.ChangeEnded, "a", "192.0.2.7", 4, 0)})
	m := d.Messages(at(5))[0]
	same(t, "rates", m.Rates, []Sample{{at(0), 100, 10000}, {at(2), 700, 700}, {at(3), 0, 0}, {at(4), 0, 0}})
	same(t, "peak", m.Peak.Total, traffic.Count{Packets: 700, Bytes: 10000})

	wide := traffic.Target{Scope: traffic.ScopePrefix, Prefix: netip.MustParsePrefix("192.0.2.0/24")}
	got, known := rateOf(&traffic.Snapshot{Hosts: []traffic.HostRate{host("192.0.1.9/32", 1), host("192.0.2.6/32", 2), host("192.0.2.8/32", 3), host("192.0.3.1/32", 4)}}, &wide)
	if got.Total.Packets != 5 || !known {
		t.Errorf("a prefix's rate is %d, want 5", got.Total.Packets)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{Wait: -1}, {Together: 1}, {Messages: -1}, {MaxAttacks: -5}, {Update: -1}} {
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), "use digest ") {
			t.Errorf("New(%+v) gives %v", o, err)
		}
	}
}

func TestResponseInWords(t *testing.T) {
	ladder := &traffic.Response{Rung: 2, Rungs: 3, Announce: []string{"rtbh"}, History: []traffic.RungChange{{At: at(0), Rung: 2, Why: "still there"}}}
	for want, r := range map[string]traffic.Record{
		"nothing is done":                             {},
		"nothing is done: too many bans":              {Held: "too many bans"},
		"drop":                                        {Ban: traffic.Ban{Since: at(0), Drop: true}},
		"dry run, nothing is done: drop":              {Ban: traffic.Ban{Since: at(0), Drop: true, DryRun: true}},
		"drop, by hand: a customer asks":              {Ban: traffic.Ban{Since: at(0), Drop: true, Manual: true, Reason: "a customer asks"}},
		"lifted: drop":                                {Ban: traffic.Ban{Since: at(0), Lifted: at(1), Drop: true}},
		"drop, " + ladder.String() + " (step 2 of 3)": {Ban: traffic.Ban{Since: at(0), Drop: true, Response: ladder}},
	} {
		if got := response(&r); got != want {
			t.Errorf("response is %q, want %q", got, want)
		}
	}
	same(t, "steps", steps(&traffic.Ban{Response: ladder}), []string{"2026-05-06T07:08:09Z step 2: still there"})
}
