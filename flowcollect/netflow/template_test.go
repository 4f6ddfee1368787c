package netflow

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// short is a template of few fields, and shortRecord a record of it.
func short() []uint16 { return []uint16{ieSource4, 4, ieDestination4, 4, iePackets, 4} }

func shortRecord(packets uint32) []byte {
	return join(ip("192.0.2.1"), ip("198.51.100.7"), u32(packets))
}

func packets(flows []traffic.Flow) (all []uint64) {
	for i := range flows {
		all = append(all, flows[i].Packets)
	}
	return all
}

// What happens to templates, datagram by datagram.
func TestTemplates(t *testing.T) {
	type step struct {
		data []byte
		want []uint64 // packets of the records that are told
	}
	first, other := announce(256, short()...), announce(256, iePackets, 4, ieSource4, 4, ieDestination4, 4)
	otherRecord := func(packets uint32) []byte { return join(u32(packets), ip("192.0.2.1"), ip("198.51.100.7")) }
	message := func(sets ...[]byte) []byte { return ipfix(0, 0, sets...) }
	for _, tt := range []struct {
		name  string
		steps []step
		want  Counts
	}{
		{"repeated", []step{
			{message(setOf(2, first), setOf(256, shortRecord(1))), []uint64{1}},
			{message(setOf(2, first), setOf(256, shortRecord(2))), []uint64{2}},
		}, Counts{Templates: 1}},
		{"changed", []step{
			{message(setOf(2, first)), nil},
			{message(setOf(2, other)), nil},
			{message(setOf(256, otherRecord(2))), []uint64{2}},
		}, Counts{Templates: 2, Changed: 1}},
		{"changed in the middle of a datagram", []step{
			{message(setOf(2, first), setOf(256, shortRecord(1)), setOf(2, other), setOf(256, otherRecord(2))), []uint64{1, 2}},
			{message(setOf(256, otherRecord(3)), setOf(2, first), setOf(256, shortRecord(4))), []uint64{3, 4}},
		}, Counts{Templates: 3, Changed: 2, Collisions: 1}},
		{"collision", []step{
			{message(setOf(2, first)), nil},
			{message(setOf(2, other)), nil},
			{message(setOf(2, first)), nil},
			{message(setOf(2, other)), nil},
		}, Counts{Templates: 4, Changed: 3, Collisions: 2}},
		{"options instead", []step{
			{message(setOf(2, first)), nil},
			{message(setOf(3, announceOptions10(256, 1, short()...)), setOf(256, shortRecord(1))), nil},
		}, Counts{Templates: 2, Changed: 1, Options: 1}},
		{"withdrawn", []step{
			{message(setOf(2, first), setOf(256, shortRecord(1)), setOf(2, u16(256, 0)), setOf(256, shortRecord(2))), []uint64{1}},
			{message(setOf(2, u16(256, 0))), nil}, // it is gone already
		}, Counts{Templates: 1, Withdrawn: 1, UnknownTemplate: 1}},
		{"all withdrawn", []step{
			{message(setOf(2, first, announce(257, short()...)), setOf(3, announceOptions10(300, 1, short()...))), nil},
			{message(setOf(2, u16(2, 0)), setOf(256, shortRecord(1)), setOf(300, shortRecord(1)), setOf(2, first), setOf(256, shortRecord(2))), []uint64{1, 2}},
			{message(setOf(3, u16(3, 0)), setOf(300, shortRecord(1)), setOf(256, shortRecord(3))), []uint64{3}},
		}, Counts{Templates: 4, Withdrawn: 3, UnknownTemplate: 2, Decoded: 1, Options: 1}},
		{"withdrawn with all before data that it cannot read", []step{
			{message(setOf(2, announce(256, 82, variable), u16(2, 0)), setOf(256, u8(9, 1))), nil},
			{message(setOf(2, announce(257, 82, variable)), setOf(2, u16(2, 0), announce(256, short()...)), setOf(257, u8(9, 1)), setOf(256, shortRecord(5))), []uint64{5}},
			{message(setOf(2, announce(258, 82, variable))), nil},
			{message(setOf(2, u16(2, 0)), setOf(258, u8(9, 1))), nil},
		}, Counts{Templates: 4, Withdrawn: 4, UnknownTemplate: 3, Decoded: 1}},
		{"late", []step{
			{message(setOf(256, shortRecord(1), shortRecord(2))), nil},
			{message(setOf(256, shortRecord(3)), setOf(257, shortRecord(9))), nil},
			{message(setOf(2, first), setOf(256, shortRecord(4))), []uint64{1, 2, 3, 4}},
		}, Counts{Templates: 1, UnknownTemplate: 3, Decoded: 2}},
		{"late, and not what it was taken for", []step{
			{message(setOf(256, u8(200, 1, 2, 3, 4))), nil},
			{message(setOf(2, announce(256, 82, variable))), nil},
		}, Counts{Templates: 1, UnknownTemplate: 1, GivenUp: 1}},
		{"of another domain", []step{
			{message(setOf(2, first)), nil},
			{ipfixOf(8, 0, 0, setOf(256, shortRecord(1))), nil},
			{v9(0, 0, setOf(256, shortRecord(1))), nil},
		}, Counts{Templates: 1, UnknownTemplate: 2}},
		{"without fields", []step{
			{message(setOf(2, first)), nil},
			{v9(0, 0, setOf(0, announce(256)), setOf(256, shortRecord(1))), nil},
			{v9(0, 0, setOf(1, announceOptions9(256, 0)), setOf(256, shortRecord(1))), nil},
			{message(setOf(3, u16(256, 1, 2), u16(ieSource4, 4)), setOf(256, shortRecord(1))), []uint64{1}}, // more scopes than fields
		}, Counts{Templates: 1, Refused: 3, UnknownTemplate: 2}},
		{"with fields of no length", []step{
			{message(setOf(2, announce(256, ieSource4, 0, ieDestination4, 0)), setOf(256, shortRecord(1))), nil},
			{v9(0, 0, setOf(0, announce(256, ieSource4, 0)), setOf(256, shortRecord(1))), nil},
			{message(setOf(3, announceOptions10(256, 1, ieInput, 0, ieSamplingInterval, 0)), setOf(256, shortRecord(1))), nil},
		}, Counts{Refused: 3, UnknownTemplate: 3}},
		{"one of no length does not take others with it", []step{
			{message(setOf(2, announce(257, ieSource4, 0), first), setOf(256, shortRecord(1))), []uint64{1}},
		}, Counts{Templates: 1, Refused: 1}},
		{"of records that no datagram can have", []step{
			{v9(0, 0, setOf(0, announce(256, ieSource4, 40000, ieDestination4, 40000)), setOf(256, shortRecord(1))), nil},
		}, Counts{Refused: 1, UnknownTemplate: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := session()
			for i, step := range tt.steps {
				if diff := cmp.Diff(step.want, packets(take(t, s, 0, step.data))); diff != "" {
					t.Errorf("datagram %d (-want +got)\n%s", i+1, diff)
				}
			}
			got := s.Health(noon()).Counts
			got.Datagrams, got.Records = 0, 0
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("counts (-want +got)\n%s", diff)
			}
		})
	}
}

// Data that has waited is told with the times of its own arrival, unless it has waited too long.
func TestWaiting(t *testing.T) {
	fields := append(short(), ieFirstSwitched, 4, ieLastSwitched, 4)
	data := func(seconds int) []byte {
		up := upAtNoon + uint32(seconds)*1000
		return v9(uint32(seconds), seconds, setOf(256, shortRecord(1), u32(up-20_000, up-10_000)))
	}
	s := session()
	for _, seconds := range []int{0, 25, 35} {
		if got := take(t, s, seconds, data(seconds)); len(got) != 0 {
			t.Fatalf("told %+v", got)
		}
	}
	if h := s.Health(at(35)); h.Waiting != 2 || h.GivenUp != 1 || h.PendingBytes <= 0 || h.Domains[0].Pending != 2 {
		t.Errorf("%d waiting (%d bytes) and %d given up, want 2 and 1", h.Waiting, h.PendingBytes, h.GivenUp)
	}
	got := take(t, s, 40, v9(40, 40, setOf(0, announce(256, fields...))))
	if len(got) != 2 || got[0].Start != at(25-20).UnixNano() || got[0].End != at(25-10).UnixNano() || got[1].End != at(35-10).UnixNano() {
		t.Errorf("told %+v", got)
	}
	if h := s.Health(at(40)); h.Waiting != 0 || h.PendingBytes != 0 || h.Decoded != 2 {
		t.Errorf("%d waiting (%d bytes), %d decoded", h.Waiting, h.PendingBytes, h.Decoded)
	}
	take(t, s, 50, v9(50, 50, setOf(300, u32(1))))
	if h := s.Health(at(100)); h.Waiting != 0 || h.PendingBytes != 0 || h.GivenUp != 2 {
		t.Errorf("%d waiting (%d bytes) and %d given up, want 0, 0 and 2", h.Waiting, h.PendingBytes, h.GivenUp)
	}
}

// However many sets wait, in however many domains, what it takes to keep them is bounded.
func TestWaitingBounded(t *testing.T) {
	const most = 10_000
	s := session(func(o *Options) { o.MaxPendingBytes, o.MaxDomains = most, 3 })
	for i := range 1000 {
		take(t, s, 0, ipfixOf(uint32(i%3), 0, 0, setOf(300, u8(1)), setOf(301), setOf(302, make([]byte, 500))))
	}
	h := s.Health(noon())
	if h.PendingBytes > most || h.Waiting == 0 || h.Waiting > most/waitingBytes || h.GivenUp+uint64(h.Waiting) != 2000 {
		t.Errorf("%d sets wait (%d bytes), %d given up", h.Waiting, h.PendingBytes, h.GivenUp)
	}
}

// Templates, their fields and domains are bounded; what was neither repeated nor used for long makes room.
func TestBounds(t *testing.T) {
	s := session(func(o *Options) { o.MaxTemplates, o.MaxDomains, o.TemplateLife = 4, 2, time.Hour })
	for i := range uint16(6) {
		take(t, s, 0, ipfix(0, 0, setOf(2, announce(256+i, short()...))))
	}
	if h := s.Health(noon()); h.Templates != 4 || h.Refused != 2 {
		t.Errorf("%d templates and %d refused, want 4 and 2", h.Templates, h.Refused)
	}
	// 256 is used, 257 is repeated, and the rest is not.
	take(t, s, 3000, ipfix(0, 3000, setOf(256, shortRecord(1)), setOf(2, announce(257, short()...))))
	take(t, s, 4000, ipfix(0, 4000, setOf(2, announce(300, short()...))))
	if h := s.Health(at(4000)); h.Templates != 3 || h.Expired != 2 || h.Refused != 2 {
		t.Errorf("%d templates, %d expired, %d refused; want 3, 2 and 2", h.Templates, h.Expired, h.Refused)
	}
	// An old one is not used any more, whether or not there is room.
	if got := take(t, s, 8000, ipfix(0, 8000, setOf(256, shortRecord(1)))); len(got) != 0 {
		t.Errorf("told by an old template: %+v", got)
	}
	if h := s.Health(at(8000)); h.Expired != 3 || h.Waiting != 1 {
		t.Errorf("%d expired and %d waiting, want 3 and 1", h.Expired, h.Waiting)
	}
	var many []uint16
	for range 4*fieldsTemplate + 1 {
		many = append(many, 82, 1)
	}
	take(t, s, 8000, ipfix(0, 8000, setOf(2, announce(400, many...))))
	if h := s.Health(at(8000)); h.Refused != 3 {
		t.Errorf("%d refused, want 3", h.Refused)
	}
	take(t, s, 8000, ipfixOf(8, 0, 8000, setOf(2, announce(256, short()...))))
	if _, err := decode(s, at(8000), ipfixOf(9, 0, 8000)); err == nil {
		t.Error("a third domain, where two are the most")
	}
	// A domain that was silent for long makes room, with its templates.
	take(t, s, 8000, ipfix(0, 8000, setOf(2, announce(256, short()...)), setOf(999, u32(1))))
	if h := s.Health(at(8000)); h.Templates != 2 || h.Waiting != 1 {
		t.Errorf("%d templates and %d waiting, want 2 and 1", h.Templates, h.Waiting)
	}
	take(t, s, 8000+3700, ipfixOf(8, 0, 8000+3700))
	take(t, s, 8000+3700, ipfixOf(9, 0, 8000+3700, setOf(2, announce(256, short()...))))
	h := s.Health(at(8000 + 3700))
	if len(h.Domains) != 2 || h.Domains[0].ID != 8 || h.Domains[1].ID != 9 || h.Waiting != 0 || h.Templates != 2 {
		t.Errorf("%d templates of %+v", h.Templates, h.Domains)
	}
}
