package netflow

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// refuse checks that a datagram is an error that tells nothing and changes nothing but one counter.
func refuse(t *testing.T, s *Session, b []byte) *Error {
	t.Helper()
	before := s.Health(noon())
	flows, err := decode(s, noon(), b)
	var bad *Error
	if !errors.As(err, &bad) || len(flows) > 0 {
		t.Fatalf("error %v, told %d records", err, len(flows))
	}
	if bad.Offset < 0 || bad.Offset > len(b) {
		t.Errorf("%v: of %d bytes", err, len(b))
	}
	before.Errors++
	if diff := cmp.Diff(before, s.Health(noon())); diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	return bad
}

func TestBad(t *testing.T) {
	data := setOf(256, record(1))
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "byte 0: 0 bytes are no NetFlow"},
		{"version", u32(8 << 16), "byte 0: version 8; expected 1, 5, 7, 9 or 10"},
		{"version 5 of fewer records than it says", join(u16(5, 3), v5(0, 0, record5(1), record5(2))[4:]), "byte 120: 3 records of version 5 take 168 bytes; the datagram has 120"},
		{"version 5 of 65535 records", join(u16(5, 65535), v5(0, 0)[4:]), "byte 24: 65535 records of version 5 take 3145704 bytes; the datagram has 24"},
		{"header of version 9", v9(0, 0)[:19], "byte 19: a header that is cut off"},
		{"header of IPFIX", ipfix(0, 0)[:15], "byte 15: a header that is cut off"},
		{"message longer than its datagram", join(u16(10, 17), ipfix(0, 0)[4:]), "byte 2: a message of 17 bytes in 16"},
		{"message shorter than its header", join(u16(10, 15), ipfix(0, 0)[4:]), "byte 2: a message of 15 bytes in 16"},
		{"set of no length", v9(0, 0, data, u16(256, 0)), "byte 66: a set of 0 bytes where 4 are left"},
		{"set shorter than its header", ipfix(0, 0, u16(256, 3), u32(0)), "byte 18: a set of 3 bytes where 8 are left"},
		{"set longer than the datagram", v9(0, 0, u16(256, 9), u32(0)), "byte 22: a set of 9 bytes where 8 are left"},
		{"number of a template", v9(0, 0, setOf(0, announce(255, plain()...))), "byte 24: template 255; their numbers begin at 256"},
		{"template of 65535 fields", v9(0, 0, setOf(0, u16(256, 65535), u16(plain()...))), "byte 24: template 256: a template that is cut off"},
		{"options template of 65535 fields", ipfix(0, 0, setOf(3, u16(256, 65535, 1), u16(plain()...))), "byte 20: template 256: a template that is cut off"},
		{"template within an enterprise number", ipfix(0, 0, setOf(2, u16(256, 1, 0x8001, 4, 0))), "byte 20: template 256: a template that is cut off"},
		{"options template within its header", ipfix(0, 0, setOf(3, u16(256, 1))), "byte 20: a template that is cut off"},
		{"options template of half fields", v9(0, 0, setOf(1, u16(256, 5, 4), u16(1, 4, 34, 4))), "byte 26: options template 256: lengths of 5 and 4 bytes; expected multiples of 4"},
		{"record within a field", ipfix(0, 0, setOf(2, announce(257, ieSource4, 4, 82, variable)), setOf(257, u32(1), text([]byte("eth0")), u32(1), u8(5, 'e'))), "byte 32: set 257: a record that is cut off"},
		{"record within a length", ipfix(0, 0, setOf(2, announce(257, ieSource4, 4, 82, variable)), setOf(257, u32(1), u8(255, 1))), "byte 32: set 257: a record that is cut off"},
		{"record behind a field", ipfix(0, 0, setOf(2, announce(257, 82, variable, ieSource4, 4)), setOf(257, u8(3, 'e', 't', 'h', 1))), "byte 32: set 257: a record that is cut off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := session()
			take(t, s, 0, v9(0, 0, setOf(0, announce(256, plain()...))))
			if got := refuse(t, s, tt.data); got.Error() != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if got := take(t, s, 0, v9(1, 0, data)); len(got) != 1 {
				t.Errorf("afterwards, %d records are told, want 1", len(got))
			}
		})
	}
}

// What a datagram has withdrawn says nothing of the next one's data.
func TestWithdrawnBefore(t *testing.T) {
	s := session()
	take(t, s, 0, ipfix(0, 0, setOf(2, u16(2, 0), announce(256, 82, variable))))
	refuse(t, s, ipfix(0, 0, setOf(2, announce(257, short()...)), setOf(256, u8(9, 1))))
}

// all is a datagram of each version with all that there may be.
func all() [][]byte {
	options := setOf(3, announceOptions10(300, 1, ieSelectorID, 8, ieSamplingPackets, 4, ieSamplingSpace, 4, 335, variable))
	return [][]byte{
		v5(0, 1<<14|100, record5(1), record5(2)),
		join(u16(7, 1), u32(upAtNoon, exportedAt(0), 0, 0, 0), record5(1), u32(0)),
		join(u16(1, 1), u32(upAtNoon, exportedAt(0), 0), record5(1), u32(0)),
		v9(0, 0, setOf(1, announceOptions9(300, 1, 1, 4, ieSamplerID, 2, ieSamplerInterval, 4)), setOf(300, u32(0), u16(5), u32(100), u16(0)),
			setOf(0, announce(256, plain()...), announce(257, short()...)), setOf(256, record(1), record(2)), setOf(257, shortRecord(3)), setOf(258, u32(1))),
		ipfix(0, 0, options, setOf(300, u64(5), u32(1, 99), text([]byte("five"))), setOf(2, announceAny(256, append(short(), 82, variable, 0x8002, 4, 0, reverse)...)),
			setOf(256, shortRecord(1), text([]byte("eth0")), u32(3), shortRecord(2), text(nil), u32(0), u8(0, 0, 0)), setOf(2, u16(256, 0)), setOf(256, u32(1))),
	}
}

// A datagram that is cut off anywhere is told as far as it goes, or refused; a refused one leaves no trace.
func TestCutOff(t *testing.T) {
	for _, b := range all() {
		whole, err := decode(session(), noon(), b)
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		for n := range b {
			flows, err := decode(session(), noon(), b[:n])
			if err == nil {
				if len(flows) > len(whole) {
					t.Errorf("%d bytes of %d: told %d records, of %d", n, len(b), len(flows), len(whole))
				}
				continue
			}
			refused++
			refuse(t, session(), b[:n])
		}
		if refused < 16 {
			t.Errorf("%d of %d prefixes are refused", refused, len(b))
		}
	}
}

// Datagrams made to cost much: they come to an end, and little is kept of them.
func TestCostly(t *testing.T) {
	var tiny, manyOnce []byte
	for i := range uint16(8000) {
		tiny = join(tiny[:len(tiny):len(tiny)], announce(256+i, ieProtocol, 1))
		if i%200 == 0 {
			manyOnce = join(manyOnce, setOf(300+i))
		}
	}
	wideFields := []uint16{82, variable}
	for range 4000 {
		wideFields = append(wideFields, 82, 0)
	}
	var sampler []byte
	for i := range uint64(5000) {
		sampler = join(sampler[:len(sampler):len(sampler)], u64(i, i%2+1))
	}
	var empty []byte
	for range 16000 {
		empty = append(empty, u16(300, 4)...)
	}
	for _, tt := range []struct {
		name      string
		datagrams [][]byte
	}{
		{"8000 templates", [][]byte{ipfix(0, 0, setOf(2, tiny))}},
		{"4001 fields of which one has a length", [][]byte{ipfix(0, 0, setOf(2, announce(256, wideFields...))), ipfix(0, 0, setOf(256, make([]byte, 60_000)))}},
		{"records of one byte", [][]byte{ipfix(0, 0, setOf(2, announce(256, ieProtocol, 1))), ipfix(0, 0, setOf(256, make([]byte, 60_000)))}},
		{"records of one byte, of variable length", [][]byte{ipfix(0, 0, setOf(2, announce(256, 82, variable))), ipfix(0, 0, setOf(256, make([]byte, 60_000)))}},
		{"samplers", [][]byte{ipfix(0, 0, setOf(3, announceOptions10(300, 1, ieSelectorID, 8, ieSamplingPackets, 8))), ipfix(0, 0, setOf(300, sampler[:60_000]))}},
		{"sets of nothing", [][]byte{ipfix(0, 0, empty), v9(0, 0, empty), ipfix(0, 0, manyOnce)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := session()
			for range 20 {
				for _, b := range tt.datagrams {
					if flows, err := decode(s, noon(), b); err != nil || len(flows) > 0 {
						t.Fatalf("told %d records, error %v", len(flows), err)
					}
				}
			}
			if h := s.Health(noon()); h.Templates > 4096 || h.Waiting > 0 || h.Domains[0].Samplers > samplersMost {
				t.Errorf("%d templates, %d waiting, %d samplers", h.Templates, h.Waiting, h.Domains[0].Samplers)
			}
		})
	}
}

// Counters and times of any size are told, or not, but nothing is made of them that cannot be.
func TestExtremes(t *testing.T) {
	for _, n := range []uint64{0, 1, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64, 1 << 32, 1<<32 - 1} {
		fields, values := []uint16{ieSource4, 4, ieDestination4, 4, ieOctets, 8}, join(ip("192.0.2.1"), ip("198.51.100.7"), u64(n|1))
		for element := uint16(1); element < 512; element++ {
			message := of(append(fields[:6:6], element, 8), values, u64(n))
			for _, f := range take(t, session(), 0, message) {
				if f.Start > f.End || f.End > noon().UnixNano() || f.Start < noon().UnixNano()-oldestFlow || f.Rate == 0 || f.Packets == 0 {
					t.Errorf("element %d of %#x: told %+v", element, n, f)
				}
			}
		}
	}
}
