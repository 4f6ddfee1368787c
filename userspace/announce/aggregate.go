package announce

import "net/netip"

// area is a prefix that an action could announce in place of hosts.
type area struct {
	action string
	prefix netip.Prefix
}

// aggregate puts one prefix in place of many blackholed hosts. The prefix has the place and the owner of the oldest of them; where the
// guards refuse it, the hosts stay.
func (m *maker) aggregate() {
	if m.policy.Aggregate.Over <= 0 {
		return
	}
	hosts := map[area]int{}
	for _, w := range m.wishes {
		if at, ok := m.area(&w); ok && w.prefix.IsSingleIP() {
			hosts[at]++
		}
	}
	done := map[area]bool{} // whether the area stands for its hosts
	var out []wish
	for _, w := range m.wishes {
		at, ok := m.area(&w)
		if !ok || hosts[at] <= m.policy.Aggregate.Over {
			out = append(out, w)
			continue
		}
		replaced, known := done[at]
		if !known {
			a := m.policy.Actions[w.action]
			why := m.guard(&a, at.prefix, at.prefix)
			if replaced = why == nil; replaced {
				out = append(out, wish{owner: w.owner, action: w.action, prefix: at.prefix, to: w.to})
			} else {
				why.Owner, why.Action, why.Aggregate = w.owner, w.action, true
				m.refuse(*why)
			}
			done[at] = replaced
		}
		if !replaced {
			out = append(out, w)
		}
	}
	m.wishes = out
}

// area returns the aggregate that a wish would be part of.
func (m *maker) area(w *wish) (area, bool) {
	if w.rule != nil || m.policy.Actions[w.action].Kind != Blackhole {
		return area{}, false
	}
	length := m.policy.Aggregate.Length[family(w.prefix.Addr())]
	if length <= 0 || length > w.prefix.Bits() {
		return area{}, false
	}
	return area{w.action, netip.PrefixFrom(w.prefix.Addr(), length).Masked()}, true
}
