package detect

import (
	"encoding/binary"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// The sizes of prefixes that are judged, smallest first: a rank is an index into them.
const ranks = 3

var areaBits = [2][ranks]int{{24, 20, 16}, {64, 56, 48}} // by family: IPv4, IPv6

// areaKey names an area: its network address, left-aligned, and its shape.
type areaKey struct {
	top   uint64
	shape uint8 // rank<<2 | family<<1 | direction
}

func keyOf(addr netip.Addr, dir traffic.Direction, rank int) areaKey {
	var top uint64
	family := 0
	if addr.Is4() {
		b := addr.As4()
		top = uint64(binary.BigEndian.Uint32(b[:])) << 32
	} else {
		b := addr.As16()
		top, family = binary.BigEndian.Uint64(b[:8]), 1
	}
	top &^= 1<<(64-areaBits[family][rank]) - 1
	return areaKey{top, uint8(rank<<2 | family<<1 | int(dir))}
}

func (k areaKey) rank() int                    { return int(k.shape >> 2) }
func (k areaKey) family() int                  { return int(k.shape >> 1 & 1) }
func (k areaKey) direction() traffic.Direction { return traffic.Direction(k.shape & 1) }

func (k areaKey) prefix() netip.Prefix {
	bits := areaBits[k.family()][k.rank()]
	if k.family() == 0 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(k.top>>32))
		return netip.PrefixFrom(netip.AddrFrom4(b), bits)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], k.top)
	return netip.PrefixFrom(netip.AddrFrom16(b), bits)
}

// area is one prefix in one direction, child of the next larger one. It counts all of its hosts but those under an attack of their own.
// It has a gauge only while its load is worth one: until then a tally over about a window is enough.
type area struct {
	track
	key      areaKey
	parent   *area
	children []*area
	loud     []*host // the hosts with a window, for the smallest areas
	place    int     // in Detector.areas

	fed     bool // it or a larger prefix around it has limits
	touched bool // in Detector.touched
	batch   batch
	census  census // of hosts that are in no child
	folded  int64  // ns; when traffic of an unknown number of hosts was last seen

	tally                traffic.Counts
	tallyFrom, tallyTill int64
	seen, busy           int64 // ns; when it last had traffic, and much of it

	near        bool  // more than half of a limit: look inside
	over        int64 // ns; since when a limit is crossed, 0: none is
	waiting     bool  // a limit is crossed, and a child is about to explain it
	activeBelow int   // attacks on prefixes inside
	alertBelow  int   // suspicions on prefixes inside
}

const (
	areaCensusBits = 256
	areaIdle       = int64(time.Minute) // without traffic for this long, an area is forgotten
	promoteAt      = 0.25               // of a limit x window, counted within a window: the area gets a gauge
	promoteInside  = 0.02               // ... of a limit of a prefix around it that is near that limit: it may soon have to explain it
	demoteAfter    = int64(5 * time.Second)
)

// noRules is what a prefix is judged by that is not ours, or of a hostgroup without limits for prefixes.
func noRules() *rules {
	return &rules{window: defaultWindow, clear: defaultClear, quiet: int64(defaultQuiet)}
}

// observeArea books an observation in the smallest area that holds it.
func (d *Detector) observeArea(o *Observation, from, to int64, hash uint64) {
	addr, rank := o.Host.Addr(), 0
	for family := addrFamily(addr); o.Host.Bits() < areaBits[family][rank]; {
		if rank++; rank == ranks {
			return
		}
	}
	a := d.near[o.Direction]
	if key := keyOf(addr, o.Direction, rank); a == nil || a.key != key {
		for a = d.area(key); a == nil; a = d.areaIndex[keyOf(addr, o.Direction, rank)] {
			if rank++; rank == ranks {
				return
			}
		}
		d.near[o.Direction] = a
	}
	if !a.fed {
		a.seen = to
		return
	}
	d.receive(a, from, to, &o.Counts)
	a.census.turn(to, int64(max(a.rules.window, flowWindow)))
	switch {
	case !o.Host.IsSingleIP():
		a.folded = to
		a.census.mark(hash)
	case a.exact():
		b := addr.As4()
		a.census.mark(uint64(b[3]))
	default:
		a.census.mark(hash)
	}
}

func addrFamily(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// exact reports whether each host of the area has a bit of its own in the census.
func (a *area) exact() bool { return a.key.family() == 0 && a.key.rank() == 0 }

// area returns the area of a key, a new one with all larger ones around it if need be; nil when there are too many.
func (d *Detector) area(key areaKey) *area {
	if a := d.areaIndex[key]; a != nil {
		return a
	}
	prefix := key.prefix()
	var parent *area
	if rank := key.rank() + 1; rank < ranks {
		if parent = d.area(keyOf(prefix.Addr(), key.direction(), rank)); parent == nil {
			return nil
		}
	}
	if len(d.areas) >= d.maxAreas {
		d.stats.AreasRefused++
		return nil
	}
	a := &area{key: key, parent: parent, place: len(d.areas), census: newCensus(areaCensusBits), seen: d.last}
	a.target = traffic.Target{Scope: traffic.ScopePrefix, Prefix: prefix, Direction: key.direction()}
	a.rules = d.rulesOfPrefix(prefix, key.direction())
	a.target.Group = a.rules.group
	a.fed = len(a.rules.list) > 0 || parent != nil && parent.fed
	d.areas = append(d.areas, a)
	d.areaIndex[key] = a
	if parent != nil {
		parent.children = append(parent.children, a)
	}
	return a
}

// rulesOfPrefix are those of the hostgroup of the prefix' first address: a prefix that several hostgroups share is judged by the first.
func (d *Detector) rulesOfPrefix(p netip.Prefix, dir traffic.Direction) *rules {
	if d.contains == nil || !d.contains(p) {
		return noRules()
	}
	group, ok := d.groupOf(p.Addr())
	if !ok || group < 0 || group >= len(d.groups) {
		return noRules()
	}
	return d.groups[group].prefix[dir]
}

// receive books traffic in the area's batch; the batch goes on to the gauge and to the larger areas at the next Tick.
func (d *Detector) receive(a *area, from, to int64, c *traffic.Counts) {
	a.seen = max(a.seen, to)
	if !a.touched {
		a.touched = true
		d.touched[a.key.rank()] = append(d.touched[a.key.rank()], a)
	}
	if !a.batch.add(from, to, c) {
		d.flushArea(a)
		a.batch.add(from, to, c)
	}
}

func (d *Detector) flushArea(a *area) {
	for i := range a.batch.n {
		p := &a.batch.parts[i]
		d.settle(a, p)
		if a.parent != nil && a.parent.fed {
			d.receive(a.parent, p.from, p.to, &p.counts)
		}
	}
	a.batch.n = 0
}

func (d *Detector) flushAreas() {
	for rank := range d.touched {
		for _, a := range d.touched[rank] {
			d.flushArea(a)
			a.touched = false
		}
		clear(d.touched[rank])
		d.touched[rank] = d.touched[rank][:0]
	}
}

// settle counts a part, and gives the area a gauge once it carries a good share of its own limit or of one around it.
func (d *Detector) settle(a *area, p *part) {
	if length := int64(max(a.rules.window, flowWindow)); p.to-a.tallyFrom > length || p.to < a.tallyFrom {
		a.tally = traffic.Counts{}
		a.tallyFrom = max(p.from, p.to-length)
	}
	a.tally.Add(&p.counts)
	a.tallyFrom, a.tallyTill = min(a.tallyFrom, p.from), max(a.tallyTill, p.to)
	much := a.carriesMuch()
	if much {
		a.busy = p.to
	}
	if a.gauge != nil {
		a.gauge.add(p.from, p.to, &p.counts)
		return
	}
	if !much {
		return
	}
	if len(d.promoted) >= d.maxPromoted {
		d.stats.AreasUnwatched++
		return
	}
	a.gauge = d.gauge(a.rules, readingLag)
	a.gauge.add(a.tallyFrom, a.tallyTill, &a.tally)
	d.promoted = append(d.promoted, a)
}

func (a *area) carriesMuch() bool {
	length := max(a.rules.window, flowWindow)
	for p := a; p != nil; p = p.parent {
		share := promoteAt
		if p != a && p.near {
			share = promoteInside
		}
		for i := range p.rules.list {
			r := &p.rules.list[i]
			if float64(r.metric.Of(&a.tally)) > share*r.limit*min(length, r.window).Seconds() {
				return true
			}
		}
	}
	return false
}

// demote takes the gauges back from areas that have been quiet.
func (d *Detector) demote(now int64) {
	kept := d.promoted[:0]
	for _, a := range d.promoted {
		if a.phase == idle && now-a.busy > demoteAfter+2*int64(a.rules.window+a.rules.average) {
			d.putGauge(a.gauge)
			a.gauge, a.over, a.near, a.waiting, a.tally = nil, 0, false, false, traffic.Counts{}
			continue
		}
		kept = append(kept, a)
	}
	clear(d.promoted[len(kept):])
	d.promoted = kept
}

// forgetAreas looks at some areas and drops those without traffic, so that a scan through a large network leaves nothing behind.
func (d *Detector) forgetAreas(now int64) {
	for n := min(len(d.areas), 16+len(d.areas)/64); n > 0 && len(d.areas) > 0; n-- {
		d.areaCursor = (d.areaCursor + 1) % len(d.areas)
		a := d.areas[d.areaCursor]
		if now-a.seen < areaIdle || a.gauge != nil || len(a.children) > 0 || len(a.loud) > 0 {
			continue
		}
		d.forgetArea(a)
	}
}

func (d *Detector) forgetArea(a *area) {
	delete(d.areaIndex, a.key)
	last := len(d.areas) - 1
	d.areas[a.place] = d.areas[last]
	d.areas[a.place].place = a.place
	d.areas[last] = nil
	d.areas = d.areas[:last]
	if p := a.parent; p != nil {
		for i, c := range p.children {
			if c == a {
				p.children = append(p.children[:i], p.children[i+1:]...)
				break
			}
		}
		p.seen = max(p.seen, a.seen)
	}
	if d.near[a.key.direction()] == a {
		d.near[a.key.direction()] = nil
	}
}

// joinLeaf links a watched host to the area around it.
func (d *Detector) joinLeaf(h *host) {
	if h.leaf != nil || !d.carpets[h.target.Direction] {
		return
	}
	if a := d.area(keyOf(h.target.Prefix.Addr(), h.target.Direction, 0)); a != nil {
		h.leaf, h.leafPlace = a, len(a.loud)
		a.loud = append(a.loud, h)
	}
}

func (h *host) leaveLeaf() {
	if h.leaf == nil {
		return
	}
	loud := h.leaf.loud
	last := len(loud) - 1
	loud[h.leafPlace] = loud[last]
	loud[h.leafPlace].leafPlace = h.leafPlace
	loud[last] = nil
	h.leaf.loud, h.leaf = loud[:last], nil
}

// leaveAreas takes a host's load off the prefixes around it: from now on it is an attack of its own.
func (h *host) leaveAreas() {
	for a := h.leaf; a != nil; a = a.parent {
		if a.gauge != nil {
			a.gauge.take(h.gauge)
		}
		if w, ok := h.gauge.(*window); ok {
			part := least(&a.tally, &w.main.newest)
			a.tally.Sub(&part)
		} else {
			a.tally = traffic.Counts{}
		}
	}
}
