package signature

import (
	"strings"
	"testing"

	"weir/userspace/analyze"
)

// BenchmarkInfer: 10,000 samples of one vector, of several, and of what no rule tells from normal traffic.
func BenchmarkInfer(b *testing.B) {
	for _, vectors := range []string{"ntp", "udp", "ack", "dns syn gre ack ntp icmp", "normal"} {
		b.Run(strings.ReplaceAll(vectors, " ", "+"), func(b *testing.B) {
			m := newMaker(1)
			all := m.attacks()
			all["normal"] = func() analyze.Seen { return m.mix(1)[0] }
			names := strings.Fields(vectors)
			attack := times(10000, func() analyze.Seen { return all[names[m.random.IntN(len(names))]]() })
			normal := m.mix(512)
			b.ReportAllocs()
			for b.Loop() {
				Infer(target(), attack, normal, Options{})
			}
		})
	}
}
