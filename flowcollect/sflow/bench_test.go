package sflow

import (
	"testing"

	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// busy is a datagram of a busy router: samples of several interfaces, each with the first 128 bytes of a frame, and with the records given.
func busy(samples int, records ...[]byte) []byte {
	frame := packettest.TCP4(packettest.Payload(1446)).Bytes()
	header := raw(headerEthernet, uint32(len(frame))+4, 4, frame[:128])
	var all [][]byte
	for i := range samples {
		x := flow{sequence: uint32(i), id: uint32(i % 4), rate: 1000, pool: uint32(i) * 1000, input: uint32(i % 4), output: 9}
		all = append(all, x.with(append([][]byte{header}, records...)...))
	}
	return base().with(all...)
}

// BenchmarkDecode is the time per sample, with its header read.
func BenchmarkDecode(b *testing.B) {
	for _, bench := range []struct {
		name     string
		samples  int
		datagram []byte
	}{
		{"headers", 7, busy(7)},
		{"headers_and_switch", 6, busy(6, tagged(recordSwitch, words(20, 0, 30, 0)))},
		{"headers_and_all", 4, busy(4, tagged(recordSwitch, words(20, 0, 30, 0)), tagged(recordRouter, addr("192.0.2.9"), words(24, 16)), tagged(recordGateway, gatewayRecord("192.0.2.10")))},
		{"spelled_out", 8, base().with(spelledSamples(8)...)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s := session()
			told := 0
			emit := func(*traffic.Flow) { told++ }
			now := noon()
			b.ReportAllocs()
			for i := 0; i < b.N; i += bench.samples {
				if err := s.Decode(bench.datagram, now, emit); err != nil {
					b.Fatal(err)
				}
			}
			if told < b.N {
				b.Fatalf("%d samples told of %d", told, b.N)
			}
		})
	}
}

func spelledSamples(n int) (samples [][]byte) {
	for range n {
		samples = append(samples, plain().with(tagged(recordIPv4, spelledTCP4())))
	}
	return samples
}

// Nothing is allocated for a sample of a known source, nor for a datagram that is refused late.
func TestNoAllocation(t *testing.T) {
	s := session(func(o *Options) { o.Counters = nil })
	emit := func(*traffic.Flow) {}
	now := noon()
	h := base()
	h.version = 4
	for name, b := range map[string][]byte{"version 5": busy(7, tagged(9<<12|1, words(1))), "version 4": h.with(oldSample(4, oldRaw(packettest.TCP4())))} {
		if n := testing.AllocsPerRun(100, func() {
			if err := s.Decode(b, now, emit); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations per datagram", name, n)
		}
	}
}
