package analyze

import (
	"math"
	"net/netip"

	"weir/userspace/traffic"
)

// beginning is as much of a payload as is compared to find out whether payloads repeat, in bytes.
const beginning = 16

// refineUDP divides what is only known to be UDP: payloads that begin alike, payloads that are noise, and the rest.
func refineUDP(samples []Seen, marks []mark) {
	repeats := map[[beginning]byte]int{}
	all := 0
	each := func(f func(i int, key [beginning]byte)) {
		for i := range samples {
			if marks[i].class == UDPFlood && len(samples[i].Payload) > 0 {
				var key [beginning]byte
				copy(key[:], samples[i].Payload)
				f(i, key)
			}
		}
	}
	each(func(_ int, key [beginning]byte) {
		repeats[key]++
		all++
	})
	const least, oneOf = 3, 1000
	each(func(i int, key [beginning]byte) {
		switch n := repeats[key]; {
		case n >= least && n*oneOf >= all:
			marks[i].class, marks[i].proof = UDPFixedFlood, proofBytes
		case n == 1 && looksRandom(samples[i].Payload):
			marks[i].class = UDPRandomFlood
		}
	})
}

// looksRandom reports whether bytes have about as many different values as evenly random ones would; text of random letters also counts.
func looksRandom(b []byte) bool {
	const enough = 8
	if len(b) < enough {
		return false
	}
	var seen [256]bool
	distinct, printable := 0, 0
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			distinct++
		}
		if c >= ' ' && c <= '~' {
			printable++
		}
	}
	values := 256.0
	if printable == len(b) {
		values = 16 // hexadecimal digits at least
	}
	expected := values * (1 - math.Pow(1-1/values, float64(len(b))))
	return float64(distinct) >= 0.8*expected
}

// refineConnections finds TCP packets of connections that were really opened: a SYN and a later packet of one source and port. They are
// a ConnectionFlood where they are many for what they carry; a few long connections are not.
func refineConnections(samples []Seen, marks []mark) {
	type connection struct {
		source   netip.AddrPort
		destPort uint16
	}
	const opened, used = 1, 2
	seen := map[connection]uint8{}
	each := func(f func(i int, c connection)) {
		for i := range samples {
			p := &samples[i].Packet
			switch class := marks[i].class; {
			case p.Protocol != traffic.ProtoTCP:
			case marks[i].known, class == SYNFlood, class == ACKFlood, class == RSTFlood, class == FINFlood:
				f(i, connection{netip.AddrPortFrom(p.Src, p.SrcPort), p.DstPort})
			}
		}
	}
	each(func(i int, c connection) {
		if marks[i].class == SYNFlood {
			seen[c] |= opened
		} else {
			seen[c] |= used
		}
	})
	openings, both := 0, 0
	for _, bits := range seen {
		if bits&opened != 0 {
			openings++
		}
		if bits == opened|used {
			both++
		}
	}
	packets := 0
	carried := map[string]int{}
	each(func(i int, c connection) {
		if seen[c] != opened|used {
			return
		}
		packets++
		if marks[i].known {
			carried[marks[i].class]++
		}
	})
	const least, share, perConnection = 5, 0.1, 20
	if both < least || float64(both) < share*float64(openings) || packets > both*perConnection {
		return
	}
	m := mark{class: ConnectionFlood, proof: proofBytes}
	for class, n := range carried {
		if n*2 >= both && (n > carried[m.of] || n == carried[m.of] && class < m.of) {
			m.of = class
		}
	}
	each(func(i int, c connection) {
		if seen[c] == opened|used && !marks[i].known {
			marks[i] = m
		}
	})
}

// refineReflection counts resets among the answers to forged SYNs where they come from the ports that send SYN and ACK: servers that do not want
// the connection, or that have repeated their answer often enough.
func refineReflection(samples []Seen, marks []mark) {
	ports := map[uint16]int{}
	answers := 0
	for i := range samples {
		if marks[i].class == SYNACKReflection {
			ports[samples[i].Packet.SrcPort]++
			answers++
		}
	}
	const oneOf = 100 // answers that a port needs
	resets := func(f func(m *mark)) {
		for i := range samples {
			if n := ports[samples[i].Packet.SrcPort]; marks[i].class == RSTFlood && n > 0 && n*oneOf >= answers {
				f(&marks[i])
			}
		}
	}
	count := 0
	resets(func(*mark) { count++ })
	if count < answers {
		resets(func(m *mark) { m.class, m.detail = SYNACKReflection, "RST from the same ports" })
	}
}
