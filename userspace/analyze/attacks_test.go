package analyze_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/analyze"
	"weir/userspace/analyze/dissect/dissecttest"
	. "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// maker makes the i-th frame of a flood.
type maker func(i int, random *rand.Rand) Frame

// flood is n samples, a millisecond apart, of what a maker makes.
func flood(n int, m maker) []analyze.Seen {
	random := rand.New(rand.NewPCG(1, 2))
	samples := make([]analyze.Seen, 0, n)
	for i := range n {
		frame := m(i, random).Bytes()
		s, ok := analyze.Look(frame[:min(len(frame), traffic.SampleBytes)], traffic.LinkEthernet, uint32(len(frame)), at.Add(time.Duration(i)*time.Millisecond), 1)
		if ok {
			samples = append(samples, s)
		}
	}
	return samples
}

// public is an address that somebody may have; sources of one pool come again.
func public(random *rand.Rand) netip.Addr {
	for {
		if a := netip.AddrFrom4([4]byte{byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())}); !analyze.Bogon(a) {
			return a
		}
	}
}

func random(_ int, r *rand.Rand) Mutation {
	return func(f *Frame) { f.Src, f.SrcPort = public(r), uint16(r.Uint32()) }
}

func pool(i int) Mutation {
	return func(f *Frame) { f.Src = netip.AddrFrom4([4]byte{8, 8, byte(i % 40), 1}) }
}

func bytesOf(b []byte) Mutation { return func(f *Frame) { f.Payload = b } }

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func tcp(flags uint8, payload int) maker {
	return func(i int, r *rand.Rand) Frame { return TCP4(random(i, r), Flags(flags), bytesOf(noise(r, payload))) }
}

func udp(payload func(i int, r *rand.Rand) []byte) maker {
	return func(i int, r *rand.Rand) Frame { return UDP4(random(i, r), Port(9999), bytesOf(payload(i, r))) }
}

func protocol(p uint8) maker {
	return func(i int, r *rand.Rand) Frame { return UDP4(random(i, r), Upper(p)) }
}

// floods are the attacks that need no server: class and frames.
func floods() map[string]maker {
	const fin, syn, rst, psh, ack, urg = traffic.FlagFIN, traffic.FlagSYN, traffic.FlagRST, traffic.FlagPSH, traffic.FlagACK, traffic.FlagURG
	return map[string]maker{
		analyze.SYNFlood:                        tcp(syn, 0),
		analyze.SYNFlood + " with explicit ECN": tcp(syn|traffic.FlagECE|traffic.FlagCWR, 0),
		analyze.SYNACKReflection:                tcp(syn|ack, 0),
		analyze.ACKFlood:                        tcp(ack, 0),
		analyze.ACKFlood + " with payload":      tcp(psh|ack, 100),
		analyze.RSTFlood:                        tcp(rst, 0),
		analyze.RSTFlood + " with ACK":          tcp(rst|ack, 0),
		analyze.FINFlood:                        tcp(fin|ack, 0),
		analyze.OddFlagsFlood + " xmas":         tcp(fin|psh|urg, 0),
		analyze.OddFlagsFlood + " null":         tcp(0, 0),
		analyze.OddFlagsFlood + " SYN and FIN":  tcp(syn|fin, 0),
		analyze.AllFlagsFlood:                   tcp(fin|syn|rst|psh|ack|urg, 0),
		analyze.AllFlagsFlood + " with ECN":     tcp(0xff, 0),
		analyze.ConnectionFlood: func(i int, r *rand.Rand) Frame {
			steps := []uint8{syn, ack, psh | ack, fin | ack}
			return TCP4(pool(i/4), Flags(steps[i%4]), Payload(0), func(f *Frame) { f.SrcPort = uint16(1024 + i/4) })
		},
		analyze.UDPRandomFlood: udp(func(_ int, r *rand.Rand) []byte { return noise(r, 100+r.IntN(900)) }),
		analyze.UDPRandomFlood + " of letters": udp(func(_ int, r *rand.Rand) []byte {
			b := noise(r, 200)
			for i := range b {
				b[i] = 'a' + b[i]%26
			}
			return b
		}),
		analyze.UDPFixedFlood: udp(func(int, *rand.Rand) []byte { return slices.Repeat([]byte("A"), 300) }),
		analyze.UDPFixedFlood + " of random lengths": udp(func(_ int, r *rand.Rand) []byte {
			return slices.Repeat([]byte{0}, 20+r.IntN(500))
		}),
		analyze.UDPEmptyFlood: udp(func(int, *rand.Rand) []byte { return nil }),
		analyze.UDPFlood: udp(func(i int, _ *rand.Rand) []byte {
			return []byte{1, byte(i), byte(i >> 8), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		}),
		analyze.ICMPFlood: func(i int, r *rand.Rand) Frame { return ICMP4(random(i, r)) },
		analyze.ICMPFlood + " in IPv6": func(int, *rand.Rand) Frame {
			return ICMP6(Payload(1000))
		},
		analyze.FragmentFlood: func(i int, r *rand.Rand) Frame {
			return UDP4(random(i, r), Fragmented4(uint16(1+r.IntN(180))|MoreFragments))
		},
		analyze.FragmentFlood + " that begins with noise": func(i int, r *rand.Rand) Frame {
			return UDP4(pool(i), Port(9999), bytesOf(noise(r, 400)), Fragmented4(uint16(i%3*100)|MoreFragments))
		},
		analyze.FragmentFlood + " in IPv6": func(i int, _ *rand.Rand) Frame { return UDP6(Fragmented6(uint16(1+i%100), true)) },
		analyze.GREFlood:                   protocol(47),
		analyze.ESPFlood:                   protocol(50),
		analyze.IPInIPFlood:                protocol(4),
		analyze.OtherProtocolFlood:         func(i int, r *rand.Rand) Frame { return UDP4(random(i, r), Upper(uint8(200+i%50))) },
		analyze.MalformedFlood:             func(i int, r *rand.Rand) Frame { return UDP6(Extended(Destination, 9, 8)) },
	}
}

func TestFloods(t *testing.T) {
	for name, m := range floods() {
		class, _, _ := strings.Cut(name, " ")
		for _, direction := range []traffic.Direction{traffic.Incoming, traffic.Outgoing} {
			t.Run(name+" "+direction.String(), func(t *testing.T) {
				r := analyze.Analyze(flood(1000, m), direction, nil)
				if r.Name != class || len(r.Vectors) != 1 || r.Vectors[0].Share < 0.98 || r.Confidence < 0.8 || r.Direction != direction {
					t.Errorf("want %s alone, got\n%s", class, r.String())
				}
			})
		}
	}
}

// Every protocol's answers are its amplification, and its other packets a flood of its own, whoever sends them.
func TestProtocols(t *testing.T) {
	for _, p := range dissecttest.Payloads() {
		t.Run(p.Name+" "+p.Detail+" "+p.Role, func(t *testing.T) {
			class := analyze.Requests(p.Name)
			if p.Role == "reply" && p.Amplifies {
				class = analyze.Amplification(p.Name)
			}
			r := analyze.Analyze(flood(300, func(i int, _ *rand.Rand) Frame {
				base := UDP4
				if p.Transport == traffic.ProtoTCP {
					base = TCP4
				}
				return base(pool(i), Flags(traffic.FlagACK|traffic.FlagPSH), bytesOf(p.Bytes), func(f *Frame) { f.SrcPort, f.DstPort = p.Source, p.Destination })
			}), traffic.Incoming, nil)
			if r.Name != class || r.Confidence < 0.85 {
				t.Errorf("want %s, got\n%s", class, r.String())
			}
			if text := r.String(); !strings.Contains(text, p.Detail) {
				t.Errorf("the evidence does not say %q:\n%s", p.Detail, text)
			}
		})
	}
}

// payload is the first of a protocol's payloads in a role.
func payload(t *testing.T, name, role string) dissecttest.Payload {
	t.Helper()
	for _, p := range dissecttest.Payloads() {
		if p.Name == name && p.Role == role && p.Transport == traffic.ProtoUDP {
			return p
		}
	}
	t.Fatalf("no %s of %s", role, name)
	return dissecttest.Payload{}
}

func reflect(p dissecttest.Payload, more ...Mutation) maker {
	return func(i int, _ *rand.Rand) Frame {
		return UDP4(append([]Mutation{pool(i), bytesOf(p.Bytes), func(f *Frame) { f.SrcPort, f.DstPort = p.Source, p.Destination }}, more...)...)
	}
}

// Several vectors have each its share, by the sampling rates, and every sample knows its own.
func TestSeveralVectors(t *testing.T) {
	samples := slices.Concat(flood(500, tcp(traffic.FlagSYN, 0)), flood(300, reflect(payload(t, "ntp", "reply"))), flood(700, udp(func(_ int, r *rand.Rand) []byte { return noise(r, 200) })))
	for i := range samples[:500] {
		samples[i].Rate = 2
	}
	r := analyze.Analyze(samples, traffic.Incoming, nil)
	got := map[string]int{}
	for _, v := range r.Vectors {
		got[v.Class] = int(v.Share*100 + 0.5)
	}
	want := map[string]int{analyze.SYNFlood: 50, "ntp_amplification": 15, analyze.UDPRandomFlood: 35}
	if diff := cmp.Diff(want, got); diff != "" || r.Name != analyze.MultiVector {
		t.Errorf("%s, shares in percent (-want +got)\n%s", r.Name, diff)
	}
	for i, of := range map[int]string{0: analyze.SYNFlood, 500: "ntp_amplification"} {
		if v := r.VectorOf[i]; v < 0 || r.Vectors[v].Class != of {
			t.Errorf("sample %d is of vector %d, want %s", i, v, of)
		}
	}
}

// Later fragments belong to what their first fragments say.
func TestFragmentsOfAnAmplification(t *testing.T) {
	p := payload(t, "dns", "reply")
	r := analyze.Analyze(flood(900, func(i int, random *rand.Rand) Frame {
		if i%3 == 0 {
			return reflect(p, Fragmented4(MoreFragments))(i/3, random)
		}
		return UDP4(pool(i/3), Fragmented4(uint16(i%3*185)|MoreFragments), Payload(1000))
	}), traffic.Incoming, nil)
	if r.Name != "dns_amplification" || len(r.Vectors) != 2 || r.Vectors[0].Class != analyze.FragmentFlood || r.Vectors[0].Of != "dns_amplification" {
		t.Errorf("want fragments of dns_amplification, got\n%s", r.String())
	}
	others := analyze.Analyze(flood(900, func(i int, random *rand.Rand) Frame {
		if i%3 == 0 {
			return reflect(p, Fragmented4(MoreFragments))(i/3, random)
		}
		return UDP4(Fragmented4(uint16(i%3*185) | MoreFragments))
	}), traffic.Incoming, nil)
	if others.Name != analyze.MultiVector || others.Vectors[0].Of != "" {
		t.Errorf("later fragments from elsewhere: want two vectors, got\n%s", others.String())
	}
}

// Where no payload was sampled, a port is all there is, and the confidence says so.
func TestPortAlone(t *testing.T) {
	samples := flood(1000, reflect(payload(t, "memcached", "reply")))
	for i := range samples {
		samples[i].Payload = nil
	}
	if r := analyze.Analyze(samples, traffic.Incoming, nil); r.Name != "memcached_amplification" || r.Confidence > 0.5 {
		t.Errorf("want memcached_amplification with a confidence of at most 0.5, got\n%s", r.String())
	}
	for i := range samples {
		samples[i].Payload = noise(rand.New(rand.NewPCG(uint64(i), 1)), 100)
	}
	if r := analyze.Analyze(samples, traffic.Incoming, nil); r.Name != analyze.UDPRandomFlood {
		t.Errorf("random bytes from memcached's port: want %s, got\n%s", analyze.UDPRandomFlood, r.String())
	}
}

// Servers that are asked in our name send resets as well, and routers errors: all of it is one reflection.
func TestReflectionWithErrors(t *testing.T) {
	samples := flood(1000, func(i int, _ *rand.Rand) Frame {
		switch {
		case i%10 == 0: // the error quotes the SYN that we are said to have sent
			quote := TCP4(func(f *Frame) { f.Src, f.SrcPort, f.DstPort = f.Dst, 40000, 80 }).Network()
			return ICMP4(pool(i), bytesOf(quote[:28]))
		case i%4 == 0:
			return TCP4(pool(i), Flags(traffic.FlagRST), Payload(0), func(f *Frame) { f.SrcPort = 80 })
		}
		return TCP4(pool(i), Flags(traffic.FlagSYN|traffic.FlagACK), Payload(0), func(f *Frame) { f.SrcPort = 80 })
	})
	for i := range samples {
		if samples[i].Packet.Protocol == traffic.ProtoICMP {
			samples[i].ICMPType = 3
		}
	}
	r := analyze.Analyze(samples, traffic.Incoming, nil)
	if r.Name != analyze.SYNACKReflection || len(r.Vectors) != 2 || r.Vectors[1].Class != analyze.ICMPFlood || r.Vectors[1].Of != analyze.SYNACKReflection {
		t.Errorf("want %s with ICMP errors of it, got\n%s", analyze.SYNACKReflection, r.String())
	}
}

// A few long connections are not a flood of connections, and resets from elsewhere are not a reflection's.
func TestNotThat(t *testing.T) {
	long := analyze.Analyze(flood(2000, func(i int, _ *rand.Rand) Frame {
		flags := uint8(traffic.FlagACK)
		if i < 10 {
			flags = traffic.FlagSYN
		}
		return TCP4(Flags(flags), Payload(0), func(f *Frame) { f.SrcPort = uint16(1024 + i%10) })
	}), traffic.Incoming, nil)
	if long.Name != analyze.ACKFlood {
		t.Errorf("ten long connections: want %s, got\n%s", analyze.ACKFlood, long.String())
	}
	resets := analyze.Analyze(slices.Concat(flood(500, tcp(traffic.FlagSYN|traffic.FlagACK, 0)), flood(400, func(i int, _ *rand.Rand) Frame {
		return TCP4(pool(i), Flags(traffic.FlagRST), Payload(0), func(f *Frame) { f.SrcPort = 80 })
	})), traffic.Incoming, nil)
	if resets.Name != analyze.MultiVector || len(resets.Vectors) != 2 {
		t.Errorf("resets from a port of their own: want two vectors, got\n%s", resets.String())
	}
}

// Connections that are opened for requests are part of the flood of requests.
func TestConnectionsForRequests(t *testing.T) {
	get := []byte("GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
	r := analyze.Analyze(flood(2000, func(i int, _ *rand.Rand) Frame {
		flags := []uint8{traffic.FlagSYN, traffic.FlagACK, traffic.FlagPSH | traffic.FlagACK, traffic.FlagACK, traffic.FlagFIN | traffic.FlagACK}[i%5]
		body := []byte{}
		if flags&traffic.FlagPSH != 0 {
			body = get
		}
		return TCP4(pool(i/5), Flags(flags), bytesOf(body), func(f *Frame) { f.SrcPort, f.DstPort = uint16(1024+i/5), 80 })
	}), traffic.Incoming, nil)
	if r.Name != "http_flood" || len(r.Vectors) != 2 || r.Vectors[0].Class != analyze.ConnectionFlood || r.Vectors[0].Of != "http_flood" {
		t.Errorf("want http_flood with its connections, got\n%s", r.String())
	}
}

// An attacker who changes the vector leaves vectors that begin and end at different times.
func TestVectorsOneAfterTheOther(t *testing.T) {
	samples := slices.Concat(flood(500, tcp(traffic.FlagSYN, 0)), flood(500, func(i int, _ *rand.Rand) Frame { return TCP4(pool(i), Flags(traffic.FlagACK), Payload(0)) }))
	for i := range samples[500:] {
		samples[500+i].Time = at.Add(time.Second + time.Duration(i)*time.Millisecond)
	}
	got := map[string]time.Duration{}
	for _, v := range analyze.Analyze(samples, traffic.Incoming, nil).Vectors {
		got[v.Class+" begins"], got[v.Class+" ends"] = v.From.Sub(at), v.To.Sub(at)
	}
	want := map[string]time.Duration{
		"syn_flood begins": 0, "syn_flood ends": 499 * time.Millisecond,
		"ack_flood begins": time.Second, "ack_flood ends": 1499 * time.Millisecond,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("times (-want +got)\n%s", diff)
	}
}
