package lab

import (
	"errors"
	"net/netip"
	"testing"
)

// TestFloodRouted sends a flood through a router. It writes into the packets, and their memory comes back to the generator:
// what it has changed must not stay.
func TestFloodRouted(t *testing.T) {
	l := openLab(t)
	a, router, b := openHost(t, l, "a"), openHost(t, l, "router"), openHost(t, l, "b")
	at := func(text string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(text)} }
	err := errors.Join(
		router.Forward(),
		l.Link(a, "eth0", router, "left", LinkOptions{A: End{MAC: mac1, Addresses: at("192.0.2.1/25")}, B: End{MAC: mac2, Addresses: at("192.0.2.2/25")}}),
		l.Link(router, "right", b, "eth0", LinkOptions{A: End{Addresses: at("192.0.2.129/25")}, B: End{Addresses: at("192.0.2.130/25")}}),
	)
	if err != nil {
		t.Fatal(err)
	}
	frame := frame4()
	frame.Src, frame.Dst, frame.SrcMAC, frame.DstMAC = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.130"), mac1, mac2
	f := openFlood(t, FloodOptions{Frame: frame, Host: a, Interface: "eth0"})
	const packets = 5000
	if sent, err := f.Run(t.Context(), 10_000, packets); err != nil || sent != packets {
		t.Fatalf("sent %d, %v; want %d", sent, err, packets)
	}
	until(t, "the packets to arrive behind the router", func() bool {
		s, err := b.Stats("eth0")
		if err != nil {
			t.Fatal(err)
		}
		return s.RxPackets >= packets
	})
}
