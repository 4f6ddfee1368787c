package analyze

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/userspace/traffic"
)

func isAmplification(class string) bool { return strings.HasSuffix(class, Amplification("")) }

// evidence writes what speaks for one vector.
type evidence struct {
	samples []Seen
	marks   []mark
	group   *group
}

// counted is a value and how many packets have it.
type counted[K cmp.Ordered] struct {
	value   K
	packets uint64
}

// top counts a value over the vector's packets, the most frequent first; ok leaves samples out.
func top[K cmp.Ordered](e *evidence, value func(i int) (K, bool)) []counted[K] {
	counts := map[K]uint64{}
	for _, i := range e.group.members {
		if v, ok := value(i); ok {
			counts[v] += e.samples[i].weight()
		}
	}
	list := make([]counted[K], 0, len(counts))
	for v, n := range counts {
		list = append(list, counted[K]{v, n})
	}
	slices.SortFunc(list, func(a, b counted[K]) int {
		return cmp.Or(cmp.Compare(b.packets, a.packets), cmp.Compare(a.value, b.value))
	})
	return list
}

// what says why packets are of a class.
func what(class string) string {
	switch class {
	case SYNFlood:
		return "SYN without ACK"
	case SYNACKReflection:
		return "answers of TCP servers to SYNs that were sent in our name"
	case ACKFlood:
		return "ACK outside of what else is known"
	case RSTFlood:
		return "RST"
	case FINFlood:
		return "FIN"
	case OddFlagsFlood:
		return "TCP flags that no stack sends"
	case AllFlagsFlood:
		return "all six TCP flags"
	case ConnectionFlood:
		return "TCP connections that were really opened"
	case UDPRandomFlood:
		return "UDP with payloads that never repeat and look random"
	case UDPFixedFlood:
		return "UDP with payloads that begin alike"
	case UDPEmptyFlood:
		return "UDP without payload"
	case UDPFlood:
		return "UDP with payloads that are of no known protocol, and neither repeat nor look random"
	case ICMPFlood:
		return "ICMP"
	case FragmentFlood:
		return "fragments of IP datagrams"
	case GREFlood:
		return "GRE, IP protocol 47"
	case ESPFlood:
		return "ESP, IP protocol 50"
	case IPInIPFlood:
		return "IP in IP, IP protocol 4 or 41"
	case OtherProtocolFlood:
		return "other IP protocols"
	case MalformedFlood:
		return "broken behind the IP addresses"
	}
	if protocol, ok := strings.CutSuffix(class, Amplification("")); ok {
		return "answers of " + protocol + " servers"
	}
	return strings.TrimSuffix(class, Requests("")) + " packets that are no server's answers"
}

// sentences say what a vector's packets have in common; of is the number of all samples.
func (e *evidence) sentences(of int) []string {
	g := e.group
	lines := []string{fmt.Sprintf("%d of %d samples are %s", len(g.members), of, what(g.class))}
	if details := top(e, func(i int) (string, bool) { return e.marks[i].detail, e.marks[i].detail != "" }); len(details) > 0 {
		lines = append(lines, frequent(e, details))
	}
	first := &e.samples[g.members[0]].Packet
	if g.class == OtherProtocolFlood {
		list := top(e, func(i int) (uint8, bool) { return e.samples[i].Packet.Protocol, true })
		lines = append(lines, "IP protocol "+frequent(e, list))
	}
	if first.Protocol == traffic.ProtoTCP || first.Protocol == traffic.ProtoUDP {
		if from := top(e, func(i int) (uint16, bool) { return e.port(i, false) }); len(from) > 0 {
			lines = append(lines, e.ports(from, "from"))
		}
		if to := top(e, func(i int) (uint16, bool) { return e.port(i, true) }); len(to) > 0 {
			lines = append(lines, e.ports(to, "to"))
		}
	}
	if g.class == UDPFixedFlood {
		const shown = 8
		list := top(e, func(i int) (string, bool) {
			b := e.samples[i].Payload
			return hex.EncodeToString(b[:min(len(b), shown)]), true
		})
		lines = append(lines, "payloads begin with "+frequent(e, list))
	}
	lengths := top(e, func(i int) (uint16, bool) { return e.samples[i].IPLength, true })
	low, high := lengths[0].value, lengths[0].value
	for _, l := range lengths {
		low, high = min(low, l.value), max(high, l.value)
	}
	if low == high {
		lines = append(lines, fmt.Sprintf("all IP packets have %d bytes", low))
	} else {
		lines = append(lines, fmt.Sprintf("IP packets have %d to %d bytes, most often %d (%s)", low, high, lengths[0].value, percent(share(lengths[0].packets, g.packets))))
	}
	return append(lines, e.sources())
}

// frequent names the most frequent values with their shares.
func frequent[K cmp.Ordered](e *evidence, list []counted[K]) string {
	const shown = 4
	var parts []string
	for _, c := range list[:min(len(list), shown)] {
		parts = append(parts, fmt.Sprintf("%v (%s)", c.value, percent(share(c.packets, e.group.packets))))
	}
	if more := len(list) - shown; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d others", more))
	}
	return strings.Join(parts, ", ")
}

// port is the source or destination port, where there is one.
func (e *evidence) port(i int, destination bool) (uint16, bool) {
	p := &e.samples[i].Packet
	if p.Fragment == traffic.LaterFragment || p.Anomaly != traffic.AnomalyNone {
		return 0, false
	}
	if destination {
		return p.DstPort, true
	}
	return p.SrcPort, true
}

func (e *evidence) ports(list []counted[uint16], word string) string {
	most := share(list[0].packets, e.group.packets)
	switch {
	case len(list) == 1:
		return fmt.Sprintf("%s port %d only", word, list[0].value)
	case most >= 0.5:
		return fmt.Sprintf("%s port %d (%s) and %d others", word, list[0].value, percent(most), len(list)-1)
	}
	return fmt.Sprintf("%s %d different ports, %d the most frequent (%s)", word, len(list), list[0].value, percent(most))
}

func (e *evidence) sources() string {
	sources := map[netip.Addr]struct{}{}
	for _, i := range e.group.members {
		sources[e.samples[i].Packet.Src] = struct{}{}
	}
	if len(sources) == 1 {
		return fmt.Sprintf("all from %s", e.samples[e.group.members[0]].Packet.Src)
	}
	return fmt.Sprintf("from %d different addresses", len(sources))
}

// firstFragments says what later fragments are part of: the class that most of the first fragments have which came from the same addresses, and
// a sentence. Empty: no first fragments were sampled.
func (e *evidence) firstFragments() (class, sentence string) {
	type pair struct{ src, dst netip.Addr }
	of := map[pair]string{}
	firsts := map[string]uint64{}
	var all, later, explained uint64
	for i := range e.samples {
		if p := &e.samples[i].Packet; p.Fragment == traffic.FirstFragment {
			name := e.marks[i].class
			if name == FragmentFlood {
				name = e.marks[i].detail
			}
			of[pair{p.Src, p.Dst}] = name
			firsts[name] += e.samples[i].weight()
			all += e.samples[i].weight()
		}
	}
	if all == 0 {
		return "", "no first fragments were sampled: nothing says what they are part of"
	}
	for name, n := range firsts {
		if n > firsts[class] || n == firsts[class] && name < class {
			class = name
		}
	}
	for _, i := range e.group.members {
		if p := &e.samples[i].Packet; p.Fragment == traffic.LaterFragment {
			later += e.samples[i].weight()
			if of[pair{p.Src, p.Dst}] == class {
				explained += e.samples[i].weight()
			}
		}
	}
	sentence = fmt.Sprintf("%s of the first fragments are %s; %s of the later ones come from the same addresses", percent(share(firsts[class], all)), class, percent(share(explained, later)))
	if explained*2 < later {
		return "", sentence
	}
	return class, sentence
}

// partOf is what at least half of the samples are known to belong to, and a sentence that begins with words.
func (e *evidence) partOf(words string) (class, sentence string) {
	list := top(e, func(i int) (string, bool) { return e.marks[i].of, e.marks[i].of != "" })
	if len(list) == 0 {
		return "", ""
	}
	sentence = words + frequent(e, list)
	if list[0].packets*2 < e.group.packets {
		return "", sentence
	}
	return list[0].value, sentence
}
