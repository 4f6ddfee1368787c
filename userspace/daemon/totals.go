package daemon

import (
	"time"

	"weir/userspace/traffic"
)

// totals adds up what hosts have counted: by family and direction since the start, by hostgroup and network per second.
// What is internal counts for both of its hosts, so as incoming and as outgoing.
type totals struct {
	sum      [2][2]traffic.Counts // by family (0: IPv4) and direction, since the start
	rate     [2][2]traffic.Counts // per second
	before   [2][2]traffic.Counts
	beside   [2][2]traffic.Counts // per second, by family: internal and other traffic, packets and bytes
	passed   [2][2]traffic.Count  // the same since the start
	groups   tally
	networks tally
}

// tally adds up for a second by index and direction, and keeps the second before as rates.
type tally struct{ now, rate []traffic.TwoWay }

func (t *tally) add(i int, dir traffic.Direction, c *traffic.Counts) {
	for i >= len(t.now) {
		t.now = append(t.now, traffic.TwoWay{})
	}
	if dir == traffic.Incoming {
		t.now[i].Incoming.Add(c)
	} else {
		t.now[i].Outgoing.Add(c)
	}
}

func (t *tally) close(seconds float64) {
	t.rate = t.rate[:0]
	for i := range t.now {
		t.rate = append(t.rate, traffic.TwoWay{
			Incoming: perSecond(t.now[i].Incoming, seconds),
			Outgoing: perSecond(t.now[i].Outgoing, seconds),
		})
		t.now[i] = traffic.TwoWay{}
	}
}

// at is the rate of an index; zero when nothing was ever counted for it.
func (t *tally) at(i int) traffic.TwoWay {
	if i < 0 || i >= len(t.rate) {
		return traffic.TwoWay{}
	}
	return t.rate[i]
}

func (t *totals) add(group, network int, ipv6 bool, dir traffic.Direction, c *traffic.Counts) {
	family := 0
	if ipv6 {
		family = 1
	}
	t.sum[family][dir&1].Add(c)
	t.groups.add(group, dir, c)
	t.networks.add(network, dir, c)
}

// close ends a second that has lasted d.
func (t *totals) close(d time.Duration) {
	seconds := d.Seconds()
	if seconds <= 0 {
		seconds = 1
	}
	t.groups.close(seconds)
	t.networks.close(seconds)
	for family := range t.sum {
		for dir := range t.sum[family] {
			delta := t.sum[family][dir]
			delta.Sub(&t.before[family][dir])
			t.rate[family][dir] = perSecond(delta, seconds)
		}
	}
	t.before = t.sum
}

// closeBeside ends a second for what is counted beside hosts: packets since the start, by family, internal and other.
func (t *totals) closeBeside(d time.Duration, now [2][2]traffic.Count) {
	seconds := max(d.Seconds(), 1e-3)
	for family := range now {
		for i, n := range now[family] {
			before := t.passed[family][i]
			t.beside[family][i] = perSecond(traffic.Counts{Total: traffic.Count{Packets: n.Packets - before.Packets, Bytes: n.Bytes - before.Bytes}}, seconds)
		}
	}
	t.passed = now
}

func (t *totals) group(i int) traffic.TwoWay { return t.groups.at(i) }

// forget drops what is indexed by a policy that is no longer in force.
func (t *totals) forget() { t.groups, t.networks = tally{}, tally{} }

// perSecond divides counts by a time.
func perSecond(c traffic.Counts, seconds float64) traffic.Counts {
	one := func(n uint64) uint64 { return uint64(float64(n)/seconds + 0.5) }
	both := func(c traffic.Count) traffic.Count {
		return traffic.Count{Packets: one(c.Packets), Bytes: one(c.Bytes)}
	}
	return traffic.Counts{
		Total: both(c.Total), Flows: one(c.Flows), TCP: both(c.TCP), UDP: both(c.UDP), ICMP: both(c.ICMP),
		TCPSYN: both(c.TCPSYN), Fragments: both(c.Fragments), Dropped: both(c.Dropped), Unseen: one(c.Unseen),
	}
}
