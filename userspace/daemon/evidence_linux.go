package daemon

import (
	"slices"

	"weir/userspace/notify"
	"weir/userspace/packet"
	"weir/userspace/traffic"
)

// evidenceMost is how many sampled packets of an attack are kept for the script: the newest ones.
const evidenceMost = 50

// evidence is what was sampled of the attacks that are on, by their prefix and direction.
type evidence map[traffic.Target][]notify.Packet

// key is what of a target a packet can tell.
func key(t traffic.Target) traffic.Target {
	return traffic.Target{Prefix: t.Prefix, Direction: t.Direction}
}

// follow keeps packets of a target from now on.
func (e evidence) follow(t traffic.Target) {
	if t.Scope != traffic.ScopeGroup && e[key(t)] == nil {
		e[key(t)] = []notify.Packet{}
	}
}

// forget drops what was kept of a target.
func (e evidence) forget(t traffic.Target) { delete(e, key(t)) }

// of returns what was kept of a target, oldest first.
func (e evidence) of(t traffic.Target) []notify.Packet { return slices.Clone(e[key(t)]) }

// add keeps a sample for whoever it was sent to or came from, if that is followed.
func (e evidence) add(s *traffic.Sample) {
	if len(e) == 0 {
		return
	}
	var p traffic.Packet
	if packet.Parse(s.Data, s.Length, &p) != traffic.ReasonOK {
		return
	}
	for t, kept := range e {
		side := p.Dst
		if t.Direction == traffic.Outgoing {
			side = p.Src
		}
		if !t.Prefix.Contains(side) {
			continue
		}
		if len(kept) == evidenceMost {
			kept = slices.Delete(kept, 0, 1)
		}
		e[t] = append(kept, notify.Packet{Time: s.Time, Packet: p, Rate: s.Rate})
	}
}
