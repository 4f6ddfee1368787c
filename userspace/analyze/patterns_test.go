package analyze_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/analyze"
	. "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// patterns are the names of a report's patterns.
func patterns(r *analyze.Report) []string {
	var names []string
	for _, p := range r.Patterns {
		names = append(names, p.Name)
	}
	return names
}

func to(a string, i int) Mutation {
	return func(f *Frame) {
		address := netip.MustParseAddr(a).AsSlice()
		address[len(address)-1] = byte(i)
		f.Dst, _ = netip.AddrFromSlice(address)
	}
}

func TestCarpet(t *testing.T) {
	for _, tt := range []struct {
		name      string
		direction traffic.Direction
		make      maker
		want      string // prefix
	}{
		{"one host", traffic.Incoming, func(int, *rand.Rand) Frame { return UDP4() }, ""},
		{"a /24", traffic.Incoming, func(i int, _ *rand.Rand) Frame { return UDP4(to("198.51.100.0", i)) }, "198.51.100.0/24"},
		{"a /25, leaving", traffic.Outgoing, func(i int, _ *rand.Rand) Frame { return UDP4(to("198.51.100.0", 128+i%128)) }, "198.51.100.128/25"},
		{"a /24 and a few others", traffic.Incoming, func(i int, _ *rand.Rand) Frame {
			if i%20 == 0 {
				return UDP4(to("203.0.113.0", i))
			}
			return UDP4(to("198.51.100.0", i))
		}, "198.51.100.0/24"},
		{"IPv6", traffic.Incoming, func(i int, _ *rand.Rand) Frame { return UDP6(to("2001:db8:7::", i)) }, "2001:db8:7::/120"},
		{"one of them above all", traffic.Incoming, func(i int, _ *rand.Rand) Frame { return UDP4(to("198.51.100.0", max(0, i%100-60))) }, ""},
		{"a server's many clients", traffic.Outgoing, func(_ int, r *rand.Rand) Frame {
			return UDP4(func(f *Frame) { f.Dst = public(r) })
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := analyze.Analyze(flood(2560, tt.make), tt.direction, nil)
			got := ""
			for _, p := range r.Patterns {
				if p.Name == analyze.CarpetBombing {
					got = p.Prefix.String()
				}
			}
			if got != tt.want {
				t.Errorf("carpet bombing of %q, want %q\n%s", got, tt.want, r.String())
			}
		})
	}
}

func TestPulses(t *testing.T) {
	every := func(burst, period time.Duration, n int) []analyze.Seen {
		samples := flood(n, tcp(traffic.FlagSYN, 0)) // a millisecond apart
		for i := range samples {
			in := time.Duration(i) * time.Millisecond
			samples[i].Time = at.Add(in/burst*period + in%burst)
		}
		return samples
	}
	for _, tt := range []struct {
		name          string
		burst, period time.Duration
		n             int
		want          []string
	}{
		{"always on", time.Second, time.Second, 10000, nil},
		{"a second of ten", time.Second, 10 * time.Second, 10000, []string{analyze.Pulses}},
		{"half a second of two", 500 * time.Millisecond, 2 * time.Second, 3000, []string{analyze.Pulses}},
		{"two bursts only", time.Second, 10 * time.Second, 2000, nil},
		{"short gaps", time.Second, 1100 * time.Millisecond, 10000, nil},
		{"gaps of two bins", 300 * time.Millisecond, 500 * time.Millisecond, 9000, nil},
		{"too few to tell", 5 * time.Millisecond, time.Second, 50, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := analyze.Analyze(every(tt.burst, tt.period, tt.n), traffic.Incoming, nil)
			if diff := cmp.Diff(tt.want, patterns(&r)); diff != "" {
				t.Errorf("patterns (-want +got)\n%s", diff)
			}
			text := fmt.Sprintf("%d bursts of about %s, one every %s", tt.n/int(tt.burst/time.Millisecond), tt.burst, tt.period)
			if tt.want != nil && !strings.Contains(r.String(), text) {
				t.Errorf("the report does not say %q:\n%s", text, r.String())
			}
		})
	}
}

func TestSpoofing(t *testing.T) {
	ours := func(a netip.Addr) bool { return netip.MustParsePrefix("198.51.100.0/24").Contains(a) }
	from := func(src func(i int, r *rand.Rand) netip.Addr, ttl func(i int, r *rand.Rand) byte) []analyze.Seen {
		samples := flood(2000, func(i int, r *rand.Rand) Frame { return UDP4(func(f *Frame) { f.Src = src(i, r) }) })
		random := rand.New(rand.NewPCG(7, 8))
		for i := range samples {
			samples[i].TTL = ttl(i, random)
		}
		return samples
	}
	same := func(int, *rand.Rand) byte { return 57 }
	anywhere := func(_ int, r *rand.Rand) netip.Addr { return public(r) }
	botnet := func(i int, _ *rand.Rand) netip.Addr {
		return netip.AddrFrom4([4]byte{byte(1 + i%9), 2, 3, byte(i % 100)})
	}
	inside := func(i int, _ *rand.Rand) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(64 + i%64)}) }
	for _, tt := range []struct {
		name      string
		samples   []analyze.Seen
		direction traffic.Direction
		want      analyze.Verdict
		says      string
	}{
		{"all 32 bits random", from(func(_ int, r *rand.Rand) netip.Addr { return netip.AddrFrom4([4]byte(noise(r, 4))) }, same), traffic.Incoming, analyze.SourcesForged, "impossible sources"},
		{"from everywhere at one distance", from(anywhere, same), traffic.Incoming, analyze.SourcesForged, "all from the same distance"},
		{"from everywhere at any distance", from(anywhere, func(_ int, r *rand.Rand) byte { return byte(r.Uint32()) }), traffic.Incoming, analyze.SourcesUnclear, "nothing proves"},
		{"a botnet", from(botnet, func(i int, _ *rand.Rand) byte { return byte(40 + i%9) }), traffic.Incoming, analyze.SourcesReal, "probably real"},
		{"a list of sources, forged", from(botnet, func(_ int, r *rand.Rand) byte { return byte(r.Uint32()) }), traffic.Incoming, analyze.SourcesForged, "different distances"},
		{"our own addresses from outside", from(inside, same), traffic.Incoming, analyze.SourcesForged, "incoming from our own networks"},
		{"our own addresses leaving", from(inside, same), traffic.Outgoing, analyze.SourcesReal, "no source is impossible"},
		{"others' addresses leaving", from(botnet, same), traffic.Outgoing, analyze.SourcesForged, "leaving with addresses that are not ours"},
		{"to themselves", from(func(int, *rand.Rand) netip.Addr { return netip.MustParseAddr("198.51.100.7") }, same), traffic.Outgoing, analyze.SourcesForged, "the destination itself"},
		{"reflectors", flood(500, reflect(payload(t, "ssdp", "reply"))), traffic.Incoming, analyze.SourcesReflectors, "servers that answer"},
		{"our own servers as reflectors", flood(500, reflect(payload(t, "ssdp", "reply"))), traffic.Outgoing, analyze.SourcesReflectors, "our own servers answer"},
		{"a handful", from(anywhere, same)[:20], traffic.Incoming, analyze.SourcesUnclear, "too few samples"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := analyze.Analyze(tt.samples, tt.direction, ours)
			if r.Spoofing.Verdict != tt.want || !strings.Contains(strings.Join(r.Spoofing.Evidence, "\n"), tt.says) {
				t.Errorf("sources are %s, want %s because of %q\n%s", r.Spoofing.Verdict, tt.want, tt.says, r.String())
			}
		})
	}
}

func TestBogon(t *testing.T) {
	for address, want := range map[string]bool{
		"0.1.2.3": true, "10.9.8.7": true, "100.64.0.1": true, "100.128.0.1": false, "127.0.0.1": true, "169.254.1.1": true, "172.16.0.1": true, "172.32.0.1": false,
		"192.0.0.8": true, "192.0.2.1": true, "192.168.1.1": true, "198.18.0.1": true, "198.20.0.1": false, "198.51.100.1": true, "203.0.113.1": true, "224.0.0.1": true,
		"255.255.255.255": true, "8.8.8.8": false, "::1": true, "fe80::1": true, "fc00::1": true, "ff02::1": true, "2001:db8::1": true, "2a00:1450::1": false, "64:ff9b::1": false,
		"2001:2::1": true, "2001:4860::1": false, "3fff::1": true,
	} {
		if got := analyze.Bogon(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is a bogon: %t, want %t", address, got, want)
		}
	}
}

// The order of samples does not matter, nor does a second analysis make a difference.
func TestDeterministic(t *testing.T) {
	samples := slices.Concat(flood(500, tcp(traffic.FlagSYN, 0)), flood(500, tcp(traffic.FlagACK, 0)), flood(500, reflect(payload(t, "dns", "reply"))))
	first := analyze.Analyze(samples, traffic.Incoming, nil)
	for range 5 {
		rand.New(rand.NewPCG(1, 1)).Shuffle(len(samples), func(i, j int) { samples[i], samples[j] = samples[j], samples[i] })
		again := analyze.Analyze(samples, traffic.Incoming, nil)
		if diff := cmp.Diff(first.String(), again.String()); diff != "" {
			t.Fatalf("the report differs (-want +got)\n%s", diff)
		}
	}
}

// Of more samples than are looked at, evenly chosen ones stand for all.
func TestTooMany(t *testing.T) {
	few := flood(1000, tcp(traffic.FlagSYN, 0))
	many := slices.Repeat(few, 2*analyze.MaxSamples/len(few)+1)
	r := analyze.Analyze(many, traffic.Incoming, nil)
	if r.Name != analyze.SYNFlood || r.Samples != len(many) || len(r.VectorOf) != len(many) || r.Vectors[0].Samples > analyze.MaxSamples {
		t.Errorf("%d samples: %s", len(many), r.String())
	}
}

func TestNothing(t *testing.T) {
	r := analyze.Analyze(nil, traffic.Incoming, nil)
	if r.Name != analyze.Unclassified || r.Confidence != 0 || r.Spoofing.Verdict != analyze.SourcesUnclear {
		t.Errorf("of nothing: %s", r.String())
	}
	if one := analyze.Analyze(flood(1, tcp(traffic.FlagSYN, 0)), traffic.Incoming, nil); one.Name != analyze.SYNFlood || one.Confidence > 0.5 {
		t.Errorf("of one sample: %s", one.String())
	}
}
