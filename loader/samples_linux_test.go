package loader_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/loader"
	pt "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// Samples carry the frame's first bytes, its length on the wire and the rate; a host under suspicion is sampled at its own rate.
func TestSamples(t *testing.T) {
	p := load(t)
	p.SetSampling(0, 1)
	collect := func() (out []traffic.Sample) {
		if err := p.Samples(1000, func(s *traffic.Sample) {
			c := *s
			c.Data = append([]byte(nil), s.Data...)
			out = append(out, c)
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	frames := [][]byte{pt.TCP4().Bytes(), pt.UDP4(pt.Payload(1000)).Bytes(), pt.UDP4(pt.Payload(256 - 42)).Bytes()}
	p.xdp(t, loader.Host, frames[0])
	if got := collect(); len(got) != 0 {
		t.Fatalf("%d samples at rate 0", len(got))
	}
	slot, _ := p.layout.DenseSlot(netip.MustParseAddr(host4))
	if err := p.SetSuspect(slot, traffic.Incoming, true); err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		p.xdp(t, loader.Host, f)
	}
	got := collect()
	if len(got) != len(frames) {
		t.Fatalf("%d samples, want %d", len(got), len(frames))
	}
	for i, s := range got {
		want := frames[i][:min(len(frames[i]), traffic.SampleBytes)]
		if diff := cmp.Diff(s.Data, want); diff != "" {
			t.Errorf("data of sample %d (-got +want):\n%s", i, diff)
		}
		if s.Length != uint32(len(frames[i])) || s.Rate != 1 {
			t.Errorf("sample %d has length %d and rate %d, want %d and 1", i, s.Length, s.Rate, len(frames[i]))
		}
		if age := time.Since(s.Time); age < -time.Second || age > time.Minute {
			t.Errorf("sample %d is %s old", i, age)
		}
	}
}

// One packet in N on the average, over many.
func TestSamplingRate(t *testing.T) {
	p := load(t)
	p.SetSampling(20, 0)
	frame := pt.UDP4().Bytes()
	const n = 20_000
	seen := 0
	for range n / 500 {
		for range 500 {
			p.xdp(t, loader.Host, frame)
		}
		if err := p.Samples(1000, func(*traffic.Sample) { seen++ }); err != nil {
			t.Fatal(err)
		}
	}
	if seen < n/20*3/4 || seen > n/20*5/4 {
		t.Errorf("%d samples of %d packets at 1 in 20", seen, n)
	}
}
