package analyze_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/analyze/dissect/dissecttest"
	. "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// mixed is n samples of everything that the tests make: the most work that a number of samples can be.
func mixed(n int) []analyze.Seen {
	var samples []analyze.Seen
	payloads := dissecttest.Payloads()
	all := floods()
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		samples = append(samples, flood(n/2/len(names), all[name])...)
	}
	return append(samples, flood(n-len(samples), func(i int, r *rand.Rand) Frame {
		p := payloads[i%len(payloads)]
		return UDP4(random(i, r), bytesOf(p.Bytes), func(f *Frame) { f.SrcPort, f.DstPort = p.Source, p.Destination })
	})...)
}

// BenchmarkAnalyze is the classification of 10,000 samples: with its signature at most 200 ms.
func BenchmarkAnalyze(b *testing.B) {
	for name, samples := range map[string][]analyze.Seen{"mixed": mixed(10000), "syn": flood(10000, tcp(traffic.FlagSYN, 0)), "dns": flood(10000, func(i int, r *rand.Rand) Frame {
		return reflect(dissecttest.Payloads()[20])(i, r)
	})} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				analyze.Analyze(samples, traffic.Incoming, func(a netip.Addr) bool { return a.IsPrivate() })
			}
		})
	}
}

func BenchmarkLook(b *testing.B) {
	frame := UDP6(VLAN(TypeVLAN, 1), Extended(HopByHop, 1, 8), Payload(150)).Bytes()
	b.ReportAllocs()
	for b.Loop() {
		analyze.Look(frame, traffic.LinkEthernet, uint32(len(frame)), at, 1)
	}
}

// Memory grows with the samples, not with what is in them: the most varied take no more than the bound that MaxSamples tells.
func TestMemory(t *testing.T) {
	const n, perSample = 10000, 2000 // bytes allocated in all, most of them garbage at once
	samples := mixed(n)
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			analyze.Analyze(samples, traffic.Incoming, nil)
		}
	})
	if got := result.AllocedBytesPerOp(); got > n*perSample {
		t.Errorf("%d bytes allocated for %d samples, want at most %d for each", got, n, perSample)
	}
}

// FuzzAnalyze reads samples from hostile bytes: frames cut one after another from the input, each with a rate and a time from its length.
func FuzzAnalyze(f *testing.F) {
	for _, frames := range [][]Frame{{TCP4(), UDP4()}, {UDP6(), ICMP6()}, {UDP4(Fragmented4(MoreFragments)), UDP4(Fragmented4(100))}, {ICMP4()}} {
		var b []byte
		for _, m := range frames {
			frame := m.Bytes()
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(frame))), frame...)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var samples []analyze.Seen
		for len(b) > 2 {
			n := int(binary.BigEndian.Uint16(b))
			b = b[2:]
			n = min(n&0x1ff, len(b))
			if s, ok := analyze.Look(b[:n], traffic.LinkEthernet, uint32(n), at.Add(time.Duration(n)*time.Second), uint32(n)<<20); ok {
				samples = append(samples, s)
			}
			b = b[n:]
		}
		for _, direction := range []traffic.Direction{traffic.Incoming, traffic.Outgoing} {
			r := analyze.Analyze(samples, direction, func(a netip.Addr) bool { return a.Is6() })
			sum := r.Rest
			for _, v := range r.Vectors {
				sum += v.Share
				if v.Share < 0 || v.Share > 1 || v.ByteShare < 0 || v.ByteShare > 1 || v.Confidence < 0 || v.Confidence > 1 || len(v.Evidence) == 0 || v.From.After(v.To) {
					t.Fatalf("vector %+v", v)
				}
			}
			if len(samples) > 0 && (sum < 0.999 || sum > 1.001) || r.Confidence < 0 || r.Confidence > 1 || len(r.VectorOf) != len(samples) {
				t.Fatalf("shares sum up to %f\n%s", sum, r.String())
			}
			for _, c := range []byte(r.String()) {
				if (c < ' ' || c > '~') && c != '\n' {
					t.Fatalf("the report is not printable: %q", r.String())
				}
			}
		}
	})
}
