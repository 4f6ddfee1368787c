package flowcollect

import "weir/userspace/traffic"

// sides finds out whether an exporter tells of the same traffic where it comes in and where it goes out: then records of both kinds are
// about the same two interfaces, in the same order. It remembers a few pairs; the newest takes another one's place.
type sides struct {
	pairs []sided // made with the first record that says its side
	found InterfacePair
	both  bool
}

type sided struct {
	pair InterfacePair
	told uint8 // a bit per traffic.FlowSide
}

const sidedPairs = 64

func (s *sides) take(f *traffic.Flow) {
	if f.Side == traffic.SideUnknown || f.Input == 0 || f.Output == 0 || f.Input == f.Output || s.both {
		return
	}
	if s.pairs == nil {
		s.pairs = make([]sided, sidedPairs)
	}
	p := &s.pairs[(f.Input*31+f.Output)%sidedPairs]
	pair := InterfacePair{f.Input, f.Output}
	if p.pair != pair {
		*p = sided{pair: pair}
	}
	p.told |= 1 << f.Side
	if p.told == 1<<traffic.SideIngress|1<<traffic.SideEgress {
		s.found, s.both = pair, true
	}
}

// twice is a pair of interfaces that is told of on both sides; nil: none is.
func (s *sides) twice() *InterfacePair {
	if !s.both {
		return nil
	}
	found := s.found
	return &found
}
