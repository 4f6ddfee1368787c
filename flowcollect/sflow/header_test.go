package sflow

import (
	"testing"

	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

func TestWithoutFCS(t *testing.T) {
	for _, tt := range []struct {
		name                         string
		length, stripped, seen, want uint32
	}{
		{"as the specification has it", 1518, 4, 1514, 1514},
		{"padded to the shortest frame", 64, 4, 54, 60},
		{"the header alone counts", 1514, 4, 1514, 1514},
		{"padded, without FCS", 60, 4, 54, 60},
		{"counted and not said", 1518, 0, 1514, 1514},
		{"never padded, counted", 58, 4, 54, 54},
		{"never padded, not counted", 54, 4, 54, 54},
		{"a tag that hardware took off", 1522, 8, 1514, 1518},
		{"the header says less than nothing of its length, stripped", 1518, 4, 0, 1514},
		{"the header says nothing of its length, nothing stripped", 1518, 0, 0, 1518},
		{"less than there is", 100, 4, 1514, 100},
		{"nothing", 0, 4, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := withoutFCS(tt.length, tt.stripped, tt.seen); got != tt.want {
				t.Errorf("got %d bytes, want %d", got, tt.want)
			}
		})
	}
}

func TestLook(t *testing.T) {
	change := func(b []byte, at int, v ...byte) []byte {
		b = append([]byte(nil), b...)
		copy(b[at:], v)
		return b
	}
	tcp4, udp6 := packettest.TCP4().Bytes(), packettest.UDP6().Bytes()
	tagged := packettest.TCP4(packettest.VLAN(0x8100, 7<<13|20)).Bytes()
	double := packettest.UDP6(packettest.VLAN(0x8100, 20), packettest.VLAN(0x88a8, 30)).Bytes() // the outermost last
	for _, tt := range []struct {
		name string
		link traffic.Link
		b    []byte
		want seen
	}{
		{"IPv4", traffic.LinkEthernet, change(tcp4, 15, 0xb8), seen{length: 69, tos: 0xb8}},
		{"IPv6", traffic.LinkEthernet, change(udp6, 14, 0x6b, 0x80), seen{length: uint32(len(udp6)), tos: 0xb8}},
		{"tag", traffic.LinkEthernet, tagged, seen{length: 73, vlan: 20}},
		{"two tags", traffic.LinkEthernet, double, seen{length: uint32(len(double)), vlan: 30}},
		{"priority tag", traffic.LinkEthernet, change(tagged, 14, 0xe0, 0), seen{length: 73}},
		{"IP alone", traffic.LinkIP, packettest.TCP4().Network(), seen{length: 55}},
		{"larger than 64 KiB", traffic.LinkEthernet, change(tcp4, 16, 0, 0), seen{}},
		{"jumbogram", traffic.LinkEthernet, change(udp6, 18, 0, 0), seen{}},
		{"neither", traffic.LinkEthernet, change(tcp4, 12, 0x88, 0xcc), seen{}},
		{"version of neither", traffic.LinkEthernet, change(tcp4, 14, 0x15), seen{}},
		{"MPLS", traffic.LinkMPLS, packettest.TCP4().Network(), seen{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := look(tt.link, tt.b); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			for n := range tt.b { // what is cut off says no more than the whole
				if got := look(tt.link, tt.b[:n]); got.length != 0 && got.length != tt.want.length || got.vlan != 0 && got.vlan != tt.want.vlan {
					t.Fatalf("of %d bytes: got %+v, of all %+v", n, got, tt.want)
				}
			}
		})
	}
}

// VLAN and TOS of a told sample: the switch's word goes before the tag's.
func TestTagged(t *testing.T) {
	tagged20 := ethernet(packettest.TCP4(packettest.VLAN(0x8100, 20)))
	for _, tt := range []struct {
		name   string
		sample []byte
		want   uint16
	}{
		{"tag", plain().with(tagged20), 20},
		{"switch before", plain().with(tagged(recordSwitch, words(30, 0, 40, 0)), tagged20), 30},
		{"switch behind", plain().with(tagged20, tagged(recordSwitch, words(30, 0, 40, 0))), 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decode(session(), base().with(tt.sample))
			if err != nil || len(got) != 1 {
				t.Fatalf("%d flows, error %v", len(got), err)
			}
			if got[0].VLAN != tt.want || got[0].Bytes != 73 {
				t.Errorf("VLAN %d, %d bytes; want %d, 73", got[0].VLAN, got[0].Bytes, tt.want)
			}
		})
	}
}
