package investigate

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

// fill is a book with ordinary traffic to the victim and 10,000 samples of an attack on him.
func fill(tb testing.TB, attack func(i int) analyze.Seen) *Book {
	tb.Helper()
	b := newBook()
	for i := range 3 * recentMost {
		s := analyze.Seen{Time: noon().Add(-time.Hour + time.Duration(i)*100*time.Millisecond), Rate: 1, IPLength: uint16(60 + i%900), Payload: fmt.Appendf(nil, "GET /%d HTTP/1.1", i%50)}
		s.Packet = traffic.Packet{
			Src: netip.AddrFrom4([4]byte{198, 51, 100, byte(i % 200)}), Dst: victim().Prefix.Addr(), SrcPort: uint16(1024 + i*7%60000), DstPort: 443,
			Protocol: traffic.ProtoTCP, TCPFlags: traffic.FlagACK | traffic.FlagPSH, TTL: uint8(50 + i%10), Length: uint32(74 + i%900),
		}
		b.Add(&s)
	}
	b.Follow(victim(), noon())
	for i := range 10_000 {
		s := attack(i)
		b.Add(&s)
	}
	return b
}

// BenchmarkAnalyze is all that is done with an attack's samples, from classes to rules for XDP and for routers. It has to stay under 200 ms.
func BenchmarkAnalyze(b *testing.B) {
	answer := func(i int) analyze.Seen {
		s := analyze.Seen{Time: noon().Add(time.Duration(i) * time.Millisecond), Rate: 10, IPLength: uint16(1000 + i%400)}
		s.Packet = traffic.Packet{
			Src: netip.AddrFrom4([4]byte{203, byte(i >> 8), byte(i), 9}), Dst: victim().Prefix.Addr(), SrcPort: 53, DstPort: uint16(i),
			Protocol: traffic.ProtoUDP, TTL: uint8(40 + i%30), Length: uint32(1014 + i%400),
		}
		s.Payload = []byte{byte(i >> 8), byte(i), 0x81, 0x80, 0, 1, 0, 20, 0, 0, 0, 0, 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 3, 'o', 'r', 'g', 0, 0, 255, 0, 1}
		return s
	}
	syn := func(i int) analyze.Seen {
		s := analyze.Seen{Time: noon().Add(time.Duration(i) * time.Millisecond), Rate: 10, IPLength: 40, TCPAllFlags: traffic.FlagSYN}
		s.Packet = traffic.Packet{
			Src: netip.AddrFrom4([4]byte{byte(i * 7), byte(i * 13), byte(i >> 3), byte(i)}), Dst: victim().Prefix.Addr(), SrcPort: uint16(i * 31), DstPort: 443,
			Protocol: traffic.ProtoTCP, TCPFlags: traffic.FlagSYN, TTL: uint8(i), Length: 60,
		}
		return s
	}
	for _, tt := range []struct {
		name   string
		attack func(int) analyze.Seen
	}{
		{"amplification", answer},
		{"forged SYN", syn},
		{"both", func(i int) analyze.Seen {
			if i%2 == 0 {
				return answer(i)
			}
			return syn(i)
		}},
		{"a vector every second", func(i int) analyze.Seen {
			s := answer(i)
			s.Packet.SrcPort, s.Payload = uint16(1000+i/1000*7), fmt.Appendf(nil, "vector %d", i/1000)
			return s
		}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			book := fill(b, tt.attack)
			b.ReportAllocs()
			for b.Loop() {
				c, ok := book.Open(victim())
				if !ok {
					b.Fatal("nothing is known of the attack")
				}
				if is := c.Analyze(noon().Add(time.Minute)); is.Class == "" || is.Samples < 10_000 {
					b.Fatalf("%+v", is)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/analysis")
		})
	}
}
