// Package detect holds measured traffic against thresholds and says when an attack starts and ends; it knows no clock but the one it is told.
//
// A limit holds over a sliding window and trips as soon as the count within the window exceeds limit x window: ten times the limit trips
// after a tenth of the window. Three scopes are judged: hosts, prefixes that are bombed as a carpet, and hostgroups as a whole.
// Every host's traffic comes in as Observations; a host that is far below its limits costs no memory and no more than tens of nanoseconds.
package detect

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// Detector is the state of detection. It is deterministic: the same calls give the same events in the same order.
// One goroutine may use it at a time.
type Detector struct {
	groups     []groupRules
	groupOf    func(netip.Addr) (int, bool)
	contains   func(netip.Prefix) bool
	carpets    [2]bool // some hostgroup has limits for prefixes in this direction
	maxWatched int

	epoch  int64 // ns; when the warm-up began
	last   int64 // ns; the last Tick
	begun  bool
	ticked bool

	hosts   [2]map[netip.Addr]*host
	watched []*host
	cursor  int
	dirty   []*host // with traffic since the last Tick
	alerts  []*host // suspected or under attack
	spare   []*host
	gauges  map[gaugeKind][]gauge // free ones

	maxAreas, maxPromoted int
	areaIndex             map[areaKey]*area
	areas                 []*area
	areaCursor            int
	near                  [2]*area       // the area of the last observation: neighbours are read together
	touched               [ranks][]*area // with traffic since the last Tick
	promoted              []*area        // with a gauge

	totals [2][]*total // by hostgroup; nil: no limits

	events []traffic.Event
	stats  Stats
}

// maxStep is the longest time between two Ticks that is not a clock jump.
const maxStep = int64(5 * time.Second)

// maxObservation is the longest time that one observation can cover.
const maxObservation = int64(time.Hour)

// New returns a detector. Its warm-up begins with its first Observation or Tick.
func New(p Policy) *Detector {
	d := &Detector{gauges: make(map[gaugeKind][]gauge), areaIndex: make(map[areaKey]*area)}
	for dir := range d.hosts {
		d.hosts[dir] = make(map[netip.Addr]*host)
	}
	d.SetPolicy(p)
	return d
}

// Observe takes in what was counted for one host. It judges nothing: Tick does. Observations without counts need not be handed over.
func (d *Detector) Observe(o *Observation) {
	d.stats.Observations++
	if o.Direction > traffic.Outgoing || o.Group < 0 || o.Group >= len(d.groups) || !d.groups[o.Group].enabled[o.Direction] || !o.Host.IsValid() {
		d.stats.Ignored++
		return
	}
	from, to := o.From.UnixNano(), o.To.UnixNano()
	if from >= to {
		from = to - int64(time.Millisecond)
	}
	if to-from > maxObservation || d.ticked && to > d.last+maxStep {
		d.stats.Misplaced++
		return
	}
	if !d.begun {
		d.begun, d.epoch = true, to
	}
	g := &d.groups[o.Group]
	attacked := o.Host.IsSingleIP() && d.observeHost(o, g, from, to)
	t := d.totals[o.Direction][o.Group]
	carpet := d.carpets[o.Direction] && !attacked
	if t == nil && !carpet {
		return
	}
	hash := hashOf(o.Host.Addr())
	if t != nil {
		t.feed(from, to, &o.Counts, hash)
	}
	if carpet {
		d.observeArea(o, from, to, hash)
	}
}

// Tick judges what was observed and returns what that has changed: prefixes first, then hosts, then hostgroups, each in the order of their targets.
// It is to be called often: the time between two calls is what it adds to the delay of an alarm. A clock that went backwards, or more than 5 s ahead, is a Reset.
func (d *Detector) Tick(now time.Time) []traffic.Event {
	t := now.UnixNano()
	if !d.begun {
		d.begun, d.epoch = true, t
	}
	if d.ticked && (t < d.last || t-d.last > maxStep) {
		d.stats.Jumps++
		d.Reset(now)
	}
	elapsed := int64(0)
	if d.ticked {
		elapsed = t - d.last
	}
	d.last, d.ticked = t, true

	d.flushAreas()
	d.judgePrefixes(t)
	d.judgeHosts(t, elapsed)
	d.judgeTotals(t)
	d.forgetAreas(t)

	events := d.events
	d.events = nil
	sortByTarget(events, func(e traffic.Event) traffic.Target { return e.Target })
	return events
}

// Reset forgets all measured traffic and begins the warm-up again: after a clock jump, or when counters began anew. Attacks that are on stay on.
func (d *Detector) Reset(now time.Time) {
	t := now.UnixNano()
	d.stats.Resets++
	d.begun, d.epoch = true, t
	d.ticked, d.last = true, t
	d.near = [2]*area{}
	for i := len(d.watched) - 1; i >= 0; i-- {
		if h := d.watched[i]; h.phase == idle {
			d.release(h)
		}
	}
	d.each(func(k *track) {
		k.high, k.minor = t, min(k.minor, t+minorEvery)
		if k.gauge != nil {
			k.gauge.reset()
		}
	})
	for _, h := range d.watched {
		h.busy = t
	}
	for _, a := range d.areas {
		a.batch.n = 0
		a.census.reset()
		a.tally, a.tallyFrom, a.tallyTill = traffic.Counts{}, 0, 0
		a.over, a.near, a.waiting, a.folded, a.seen, a.busy = 0, false, false, 0, t, t
	}
	for dir := range d.totals {
		for _, k := range d.totals[dir] {
			if k != nil {
				k.batch.n = 0
				k.census.reset()
			}
		}
	}
}

func (d *Detector) time(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// scopeOrder is the order of events: the larger explanation comes first.
var scopeOrder = [traffic.ScopeCount]int{traffic.ScopePrefix: 0, traffic.ScopeHost: 1, traffic.ScopeGroup: 2}

// sortByTarget keeps the order of events of one target.
func sortByTarget[T any](s []T, target func(T) traffic.Target) {
	slices.SortStableFunc(s, func(x, y T) int {
		a, b := target(x), target(y)
		order := cmp.Or(
			cmp.Compare(scopeOrder[a.Scope], scopeOrder[b.Scope]),
			cmp.Compare(a.Direction, b.Direction),
			a.Prefix.Addr().Compare(b.Prefix.Addr()),
			cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()),
		)
		if order == 0 && a.Scope == traffic.ScopeGroup {
			return cmp.Compare(a.Group, b.Group)
		}
		return order
	})
}
