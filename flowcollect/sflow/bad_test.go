package sflow

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// good is a datagram of version 5 with a bit of everything.
func good() []byte {
	tcp := ethernet(packettest.TCP4())
	return base().with(
		plain().with(tcp, tagged(recordSwitch, words(20, 0, 30, 0)), tagged(recordRouter, addr("192.0.2.9"), words(24, 16)), tagged(recordGateway, gatewayRecord("192.0.2.10"))),
		tagged(sampleCounters, words(1, 3, 2), tagged(counterInterface, interfaceCounters()), tagged(2, make([]byte, 52))),
		tagged(sampleFlowExpanded, words(1, 0, 3, 100, 100, 0, 0, 3, 0, 4, 2), tagged(recordIPv4, spelledTCP4()), tagged(recordIPv6, spelledUDP6())),
		tagged(sampleDiscarded, words(1, 0, 3, 0, 3, 0, 258, 1), tcp),
		tagged(4413<<12|1, words(1, 2)),
	)
}

// goodOld is one of version 4.
func goodOld() []byte {
	h := base()
	h.version = 4
	return h.with(
		oldSample(4, oldRaw(packettest.TCP4()), words(oldSwitch, 20, 0, 30, 0), join(words(oldRouter), addr("192.0.2.9"), words(24, 16)),
			join(words(oldUser), opaque([]byte("alice")), opaque([]byte("bob")))),
		join(words(oldCounters, 1, 3, 30, 2), interfaceCounters(), make([]byte, 52)),
		oldSample(4, join(words(oldIPv4), spelledTCP4())),
	)
}

func TestRefused(t *testing.T) {
	tcp := ethernet(packettest.TCP4())
	version := func(v uint32) head { h := base(); h.version = v; return h }
	for _, tt := range []struct {
		name     string
		datagram []byte
		offset   int
		want     string
	}{
		{"nothing", nil, 0, "ends within the datagram's header"},
		{"version 3", version(3).with(), 0, "version 3; expected 2, 4 or 5"},
		{"unknown type of address", words(5, 3, 1, 2, 3, 4, 5, 6, 7, 8), 4, "an agent's address of type 3"},
		{"half an address", words(5, 2, 1, 2), 16, "ends within the agent's address"},
		{"header cut off", base().with()[:24], 24, "ends within the datagram's header"},
		{"more samples than bytes", join(words(5, 1, 1, 7, 1, 1, 0xffffffff), plain().with(tcp)), 28, "4294967295 samples"},
		{"a sample is missing", join(words(5, 1, 1, 7, 1, 1, 2), tagged(9, make([]byte, 10))), 48, "ends within a sample's format and length"},
		{"a sample longer than the rest", join(words(5, 1, 1, 7, 1, 1, 1), words(1, 100, 1)), 32, "a sample of 100 bytes where 4 are left"},
		{"a sample of 4 GiB", join(words(5, 1, 1, 7, 1, 1, 1), words(1, 0xffffffff, 1)), 32, "a sample of 4294967295 bytes"},
		{"a sample too short for its kind", base().with(tagged(sampleFlow, make([]byte, 28))), 36, "a sample of format 1 in 28 bytes; it has at least 32"},
		{"an expanded one", base().with(tagged(sampleFlowExpanded, make([]byte, 40))), 36, "it has at least 44"},
		{"a notification", base().with(tagged(sampleDiscarded, make([]byte, 28))), 36, "it has at least 32"},
		{"counters", base().with(tagged(sampleCounters, make([]byte, 8))), 36, "it has at least 12"},
		{"expanded counters", base().with(tagged(sampleCountersExpanded, make([]byte, 12))), 36, "it has at least 16"},
		{"more records than bytes", base().with(tagged(sampleFlow, words(1, 3, 100, 0, 0, 3, 4, 1<<31))), 64, "2147483648 records in 0 bytes"},
		{"a record is missing", base().with(tagged(sampleFlow, words(1, 3, 100, 0, 0, 3, 4, 2), tagged(2, make([]byte, 8)), words(0))), 84, "4 bytes where a record's format and length belong"},
		{"a record longer than its sample", base().with(tagged(sampleFlow, words(1, 3, 100, 0, 0, 3, 4, 1), words(1, 64)), plain().with(tcp)), 72, "a record of 64 bytes where 0 are left"},
		{"a counter record longer than its sample", base().with(tagged(sampleCounters, words(1, 3, 1), words(1, 88))), 52, "a record of 88 bytes"},
		{"a header record too short", base().with(plain().with(tagged(recordHeader, make([]byte, 12)))), 76, "a record of format 1 in 12 bytes; it has at least 16"},
		{"a header longer than its record", base().with(plain().with(tagged(recordHeader, words(1, 64, 4, 65), make([]byte, 64)))), 88, "a header of 65 bytes where 64 are left"},
		{"sampled_ipv4 too short", base().with(plain().with(tagged(recordIPv4, make([]byte, 28)))), 76, "it has at least 32"},
		{"sampled_ipv6 too short", base().with(plain().with(tagged(recordIPv6, make([]byte, 52)))), 76, "it has at least 56"},
		{"old: more samples than bytes", words(4, 1, 1, 1, 1, 0xffffffff, 1), 24, "4294967295 samples"},
		{"old: unknown sample", version(4).with(words(3, 0, 0, 0)), 24, "a sample of type 3"},
		{"old: unknown packet data", version(4).with(oldSample(4, words(9))), 56, "packet data of type 9"},
		{"old: unknown extended data", version(4).with(oldSample(4, join(words(oldIPv4), spelledTCP4()), words(6))), 96, "extended data of type 6"},
		{"old: unknown counters", version(4).with(words(oldCounters, 1, 3, 30, 8)), 40, "counters of type 8"},
		{"old: endless extended data", version(4).with(join(words(oldFlow, 1, 3, 100, 100, 0, 3, 4, oldIPv4), spelledTCP4(), words(0xffffffff))), 24, "ends within a sample"},
		{"old: a path without end", version(4).with(oldSample(4, join(words(oldIPv4), spelledTCP4()), words(oldGateway, 1, 2, 3, 0xffffffff))), 24, "ends within a sample"},
		{"old: a list without end", version(2).with(oldSample(4, join(words(oldIPv4), spelledTCP4()), words(oldGateway, 1, 2, 3, 0xffffffff))), 24, "ends within a sample"},
		{"old: a header of 4 GiB", version(4).with(oldSample(4, words(oldHeader, 1, 64, 0xffffffff))), 24, "ends within a sample"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := session()
			before := s.Health(noon())
			got, err := decode(s, tt.datagram)
			var at *Error
			if !errors.As(err, &at) || at.Offset != tt.offset || !strings.Contains(at.What, tt.want) {
				t.Errorf("error %v, want %q at byte %d", err, tt.want, tt.offset)
			}
			before.Errors = 1
			if diff := cmp.Diff(before, s.Health(noon()), addresses()); diff != "" || len(got) > 0 {
				t.Errorf("%d flows; more than a counter changed (-want +got)\n%s", len(got), diff)
			}
		})
	}
}

// A datagram that is cut off anywhere is refused, and nothing of it told; the one after it is read as if nothing had been.
func TestCutOff(t *testing.T) {
	for _, whole := range [][]byte{good(), goodOld()} {
		want, err := decode(session(), whole)
		if err != nil {
			t.Fatal(err)
		}
		s := session()
		for n := range whole {
			if got, err := decode(s, whole[:n:n]); err == nil || len(got) > 0 {
				t.Fatalf("of %d bytes %d: %d flows, error %v", len(whole), n, len(got), err)
			}
		}
		got, err := decode(s, whole)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, addresses()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if h := s.Health(noon()); h.Errors != uint64(len(whole)) || h.Datagrams != 1 {
			t.Errorf("%d errors, %d datagrams; want %d, 1", h.Errors, h.Datagrams, len(whole))
		}
	}
}

// Habits of exporters that cost nothing: bytes behind the last sample or record, and padding that is left out.
func TestTolerated(t *testing.T) {
	tcp := ethernet(packettest.TCP4())
	odd := packettest.TCP4().Bytes()
	unpadded := func(format uint32, content []byte) []byte { return join(words(format, uint32(len(content))), content) }
	header := join(words(headerEthernet, uint32(len(odd))+4, 4, uint32(len(odd))), odd)
	for _, tt := range []struct {
		name     string
		datagram []byte
	}{
		{"bytes behind the last sample", join(base().with(plain().with(tcp)), words(1, 2, 3))},
		{"bytes behind the last record", base().with(tagged(sampleFlow, words(1, 3, 100, 0, 0, 3, 4, 1), tcp, words(0, 0)))},
		{"bytes behind a record's content", base().with(plain().with(tagged(recordHeader, words(headerEthernet, uint32(len(odd))+4, 4), opaque(odd), words(0))))},
		{"no padding at the end of the datagram", base().with(unpadded(sampleFlow, join(words(1, 3, 100, 0, 0, 3, 4, 1), unpadded(recordHeader, header))))},
		{"no padding in the record's length", base().with(tagged(sampleFlow, words(1, 3, 100, 0, 0, 3, 4, 2), pad(unpadded(recordHeader, header)), tagged(2, make([]byte, 24))))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decode(session(), tt.datagram)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]traffic.Flow{told()}, got, addresses()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
