package daemon

import (
	"net/netip"
	"slices"

	"weir/userspace/notify"
	"weir/userspace/traffic"
)

// evidenceMost is how many sampled packets of an attack are kept for the script: the newest ones.
const evidenceMost = 50

// evidence is what was sampled of the attacks that are on.
type evidence struct {
	hosts    map[side][]notify.Packet
	prefixes map[side][]notify.Packet
}

// side is who is attacked, or attacks.
type side struct {
	prefix    netip.Prefix
	direction traffic.Direction
}

func newEvidence() evidence {
	return evidence{hosts: map[side][]notify.Packet{}, prefixes: map[side][]notify.Packet{}}
}

// kept is where packets of a target are; nil for a hostgroup, of which none are kept.
func (e evidence) kept(t traffic.Target) map[side][]notify.Packet {
	switch {
	case t.Scope == traffic.ScopeGroup:
		return nil
	case t.Prefix.IsSingleIP():
		return e.hosts
	}
	return e.prefixes
}

// follow keeps packets of a target from now on.
func (e evidence) follow(t traffic.Target) {
	if kept, key := e.kept(t), (side{t.Prefix, t.Direction}); kept != nil && kept[key] == nil {
		kept[key] = []notify.Packet{}
	}
}

// forget drops what was kept of a target.
func (e evidence) forget(t traffic.Target) { delete(e.kept(t), side{t.Prefix, t.Direction}) }

// of returns what was kept of a target, oldest first.
func (e evidence) of(t traffic.Target) []notify.Packet {
	return slices.Clone(e.kept(t)[side{t.Prefix, t.Direction}])
}

// following reports whether packets of anybody are kept.
func (e evidence) following() bool { return len(e.hosts)+len(e.prefixes) > 0 }

// keep keeps a packet for whoever it was sent to or came from, if that is followed.
func (e evidence) keep(n notify.Packet) {
	p := &n.Packet
	for _, key := range []side{{netip.PrefixFrom(p.Dst, p.Dst.BitLen()), traffic.Incoming}, {netip.PrefixFrom(p.Src, p.Src.BitLen()), traffic.Outgoing}} {
		if kept := e.hosts[key]; kept != nil {
			e.hosts[key] = append(newest(kept), n)
		}
		for prefix, kept := range e.prefixes {
			if prefix.direction == key.direction && prefix.prefix.Contains(key.prefix.Addr()) {
				e.prefixes[prefix] = append(newest(kept), n)
			}
		}
	}
}

// newest makes room for one more.
func newest(kept []notify.Packet) []notify.Packet {
	if len(kept) == evidenceMost {
		return slices.Delete(kept, 0, 1)
	}
	return kept
}
