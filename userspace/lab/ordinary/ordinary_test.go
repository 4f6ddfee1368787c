package ordinary_test

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"weir/userspace/analyze"
	"weir/userspace/analyze/dissect"
	"weir/userspace/lab/ordinary"
	"weir/userspace/traffic"
)

func make10s(t *testing.T, o ordinary.Options) []ordinary.Frame {
	t.Helper()
	o.Duration = 10 * time.Second
	frames, err := ordinary.Make(o)
	if err != nil {
		t.Fatal(err)
	}
	return frames
}

// TestFrames has every frame read by gopacket, with its checksums, and by the parser: they are to or from the host, and in order.
func TestFrames(t *testing.T) {
	for _, address := range []string{"192.0.2.7", "2001:db8::7"} {
		t.Run(address, func(t *testing.T) {
			host := netip.MustParseAddr(address)
			var last time.Duration
			kinds := map[ordinary.Kind][2]int{}
			for i, f := range make10s(t, ordinary.Options{Host: host, Seed: 1}) {
				p := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: false, NoCopy: true})
				if u, ok := p.TransportLayer().(interface {
					SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
				}); !ok || u.SetNetworkLayerForChecksum(p.NetworkLayer()) != nil {
					t.Fatalf("frame %d has no transport layer: %v", i, p)
				}
				if wrong, mismatches := p.VerifyChecksums(); wrong != nil || len(mismatches) > 0 {
					t.Fatalf("frame %d: %v, %v", i, wrong, mismatches)
				}
				s, ok := analyze.Look(f.Data, traffic.LinkEthernet, uint32(len(f.Data)), time.Unix(0, 0).Add(f.At), 1)
				at, want := s.Packet.Src, 0
				if f.Incoming {
					at, want = s.Packet.Dst, 1
				}
				if !ok || at != host || f.At < last || int(s.IPLength) != len(f.Data)-14 || len(f.Data) > 1514 || analyze.Bogon(s.Packet.Src) && s.Packet.Src != host {
					t.Fatalf("frame %d at %s after %s: %+v", i, f.At, last, s)
				}
				last = f.At
				n := kinds[f.Kind]
				n[want]++
				kinds[f.Kind] = n
			}
			if len(kinds) != ordinary.Kinds {
				t.Errorf("kinds: %v, want %d", kinds, ordinary.Kinds)
			}
			for k, n := range kinds {
				t.Logf("%s: %.0f packets/s out, %.0f in", k, float64(n[0])/10, float64(n[1])/10)
				if min(n[0], n[1]) < 200 {
					t.Errorf("%s: %d packets out and %d in, want 200 at least", k, n[0], n[1])
				}
			}
		})
	}
}

// TestPayloads: what is carried is known for what it is.
func TestPayloads(t *testing.T) {
	seen := map[string]int{}
	for _, f := range make10s(t, ordinary.Options{Host: netip.MustParseAddr("192.0.2.7"), Seed: 1}) {
		s, _ := analyze.Look(f.Data, traffic.LinkEthernet, uint32(len(f.Data)), time.Time{}, 1)
		if is, ok := dissect.Payload(s.Packet.Protocol, s.Packet.SrcPort, s.Packet.DstPort, s.Payload); ok {
			seen[is.Name]++
		}
	}
	for _, name := range []string{"dns", "http", "tls", "rtp"} {
		if seen[name] < 50 {
			t.Errorf("%s is seen %d times, want 50 at least; all: %v", name, seen[name], seen)
		}
	}
}

// TestSeed: the same options make the same frames, another seed makes others, and a host twice as busy twice as many.
func TestSeed(t *testing.T) {
	o := ordinary.Options{Host: netip.MustParseAddr("192.0.2.7"), Seed: 3}
	first, again := make10s(t, o), make10s(t, o)
	if !slices.EqualFunc(first, again, func(a, b ordinary.Frame) bool {
		return a.At == b.At && a.Incoming == b.Incoming && a.Kind == b.Kind && bytes.Equal(a.Data, b.Data)
	}) {
		t.Error("the same options make other frames")
	}
	o.Seed = 4
	if other := make10s(t, o); bytes.Equal(other[0].Data, first[0].Data) {
		t.Error("another seed makes the same first frame")
	}
	o.Scale = 2
	if ratio := float64(len(make10s(t, o))) / float64(len(first)); ratio < 1.5 || ratio > 2.5 {
		t.Errorf("a scale of 2 makes %.2f times as many frames", ratio)
	}
}

func TestRefused(t *testing.T) {
	host := netip.MustParseAddr("192.0.2.7")
	for name, o := range map[string]ordinary.Options{
		"no host":        {Duration: time.Second},
		"mapped address": {Host: netip.AddrFrom16(host.As16()), Duration: time.Second},
		"a day":          {Host: host, Duration: 24 * time.Hour},
		"before":         {Host: host, Duration: -1},
		"scale":          {Host: host, Duration: time.Second, Scale: -1},
	} {
		if frames, err := ordinary.Make(o); err == nil {
			t.Errorf("%s: %d frames, want an error", name, len(frames))
		}
	}
}
