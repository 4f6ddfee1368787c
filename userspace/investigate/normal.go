package investigate

import (
	"container/list"

	"weir/userspace/analyze"
	"weir/userspace/analyze/signature"
	"weir/userspace/traffic"
)

// normal is the ordinary traffic of the hosts that were seen last.
type normal struct {
	order *list.List // of *known, the one that was seen last in front
	hosts map[side]*list.Element
	seeds uint64 // handed out: no two baselines keep samples by the same chance
}

type known struct {
	key      side
	baseline *signature.Baseline
	rate     rate
}

func newNormal() *normal { return &normal{order: list.New(), hosts: map[side]*list.Element{}} }

func (n *normal) add(key side, s *analyze.Seen) {
	e := n.hosts[key]
	if e == nil {
		if n.order.Len() >= hostsMost {
			last := n.order.Back()
			delete(n.hosts, last.Value.(*known).key)
			n.order.Remove(last)
		}
		e = n.order.PushFront(&known{key: key, baseline: n.baseline(hostSamples)})
		n.hosts[key] = e
	} else {
		n.order.MoveToFront(e)
	}
	k := e.Value.(*known)
	k.baseline.Observe(s)
	k.rate.add(s)
}

// rate is how many packets a second a target had: of a prefix, all its hosts together.
func (n *normal) rate(t traffic.Target) (sum float64) {
	if t.Prefix.IsSingleIP() {
		if e := n.hosts[side{t.Prefix, t.Direction}]; e != nil {
			sum = e.Value.(*known).rate.perSecond()
		}
		return sum
	}
	for e := n.order.Front(); e != nil; e = e.Next() {
		if k := e.Value.(*known); k.key.direction == t.Direction && t.Prefix.Contains(k.key.prefix.Addr()) {
			sum += k.rate.perSecond()
		}
	}
	return sum
}

func (n *normal) baseline(samples int) *signature.Baseline {
	n.seeds++
	return signature.NewBaseline(signature.BaselineConfig{Samples: samples, Seed: n.seeds})
}

// of is what is known of a target: of a prefix, that of all its hosts together. nil: nothing.
func (n *normal) of(t traffic.Target) *signature.Baseline {
	if t.Prefix.IsSingleIP() {
		if e := n.hosts[side{t.Prefix, t.Direction}]; e != nil {
			return e.Value.(*known).baseline
		}
		return nil
	}
	var all *signature.Baseline
	for e := n.order.Front(); e != nil; e = e.Next() {
		k := e.Value.(*known)
		if k.key.direction != t.Direction || !t.Prefix.Contains(k.key.prefix.Addr()) {
			continue
		}
		if all == nil {
			all = n.baseline(0)
		}
		all.Merge(k.baseline)
	}
	return all
}
