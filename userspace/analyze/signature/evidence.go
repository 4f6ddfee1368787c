package signature

import (
	"fmt"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

// evidence says what else the attack's samples have in common and normal ones have not, of what no rule can look at.
func evidence(attack, normal *table) (sentences []string) {
	tcp := func(s *analyze.Seen) bool { return s.Packet.Protocol == traffic.ProtoTCP && transport(&s.Packet) }
	for _, x := range []struct {
		name  string
		value func(*analyze.Seen) (uint32, bool)
		text  func(uint32) string
	}{
		{"TTL", func(s *analyze.Seen) (uint32, bool) { return uint32(s.TTL), true }, decimal},
		{"TCP window", func(s *analyze.Seen) (uint32, bool) { return uint32(s.TCPWindow), tcp(s) }, decimal},
		{"TCP options", func(s *analyze.Seen) (uint32, bool) { return s.TCPOptions, tcp(s) }, options},
	} {
		value, most := attack.most(x.value)
		share := attack.part(x.value, value)
		if most < 0.1 || share < 0.8 {
			continue
		}
		other := "normal traffic is not known"
		if normal.weight.total > 0 {
			usual := normal.part(x.value, value)
			if usual > share/4 {
				continue
			}
			other = percent(usual) + " of normal traffic that has one"
		}
		sentences = append(sentences, fmt.Sprintf("%s %s in %s of the attack's packets that have one, against %s; no rule can look at it", x.name, x.text(value), percent(share), other))
	}
	return sentences
}

func decimal(v uint32) string { return fmt.Sprint(v) }

func options(v uint32) string {
	if v == 0 {
		return "none"
	}
	return fmt.Sprintf("of kind %08x", v)
}

// most returns the value of the most weight and its share of all samples, the smaller one among equals.
func (t *table) most(value func(*analyze.Seen) (uint32, bool)) (top uint32, share float64) {
	counted := map[uint32]float64{}
	for i, s := range t.seen {
		if s == nil {
			continue
		}
		if v, has := value(s); has {
			counted[v] += float64(t.rates[i])
		}
	}
	best := 0.0
	for v, w := range counted {
		if w > best || w == best && v < top {
			top, best = v, w
		}
	}
	if all := t.exact(t.all); all > 0 {
		share = best / all
	}
	return top, share
}

// part returns the share that has the value, of the samples that have any.
func (t *table) part(value func(*analyze.Seen) (uint32, bool), wanted uint32) float64 {
	with, all := 0.0, 0.0
	for i, s := range t.seen {
		if s == nil {
			continue
		}
		v, has := value(s)
		if !has {
			continue
		}
		all += float64(t.rates[i])
		if v == wanted {
			with += float64(t.rates[i])
		}
	}
	if all == 0 {
		return 0
	}
	return with / all
}
