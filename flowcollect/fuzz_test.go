package flowcollect

import (
	"testing"

	"weir/userspace/traffic"
)

// FuzzDatagram feeds anything to a decoder, three datagrams of one exporter: it tells records or an error, never both, and counts what it
// tells; and neither state nor problems can break.
func FuzzDatagram(f *testing.F) {
	f.Add(netflow5(0, 0, one{}), netflow5(1, 1<<14, one{}), []byte(nil))
	f.Add(netflow9(1, 7, template9()), netflow9(2, 7, set(256, one{}.data(0))), netflow9(3, 7, set(257, one{}.data(1))))
	f.Add(ipfix(0, 7, template10(), set(256, one{}.data(0))), ipfix(1, 7, set(2, words16(256, 0))), sflow5("10.0.0.1", 1, 100, one{}))
	f.Add([]byte{0, 9}, []byte("what is this"), netflow9(1, 0, set(0, words16(256, 1, 8, 0)), set(256, []byte{0, 0, 0, 0})))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		bed := newBed(t, Options{UseAgent: true, MaxExporters: 2})
		for i, data := range [][]byte{a, b, c} {
			before := len(bed.flows)
			if err := bed.Datagram(from(memberA), data, at(i)); err != nil && len(bed.flows) != before {
				t.Fatalf("datagram %d: %v, and %d records", i, err, len(bed.flows)-before)
			}
		}
		var records, withheld, notices uint64
		for _, s := range bed.Exporters(at(3)) {
			records, withheld, notices = records+s.Records, withheld+s.Withheld, notices+s.Notices
		}
		if records != uint64(len(bed.flows))+withheld+notices || records != bed.Stats().Records {
			t.Errorf("%d records: %d told, %d withheld, %d notices; stats %d", records, len(bed.flows), withheld, notices, bed.Stats().Records)
		}
		for i := range bed.flows {
			if x := &bed.flows[i]; x.Rate == 0 || x.RateOrigin >= traffic.RateUnknown || !x.Src.IsValid() || !x.Dst.IsValid() || x.Source >= traffic.FlowSourceCount {
				t.Errorf("told %+v", *x)
			}
		}
	})
}

// FuzzKept reads anything as the file of templates, and restores what is in it.
func FuzzKept(f *testing.F) {
	f.Add([]byte(`{"version":1,"exporters":[{"address":"203.0.113.1","at":"2027-01-15T08:00:00Z","templates":"e30="}]}`))
	f.Add([]byte(`{"version":1,"exporters":[{"address":"203.0.113.1","templates":"eyJ2ZXJzaW9uIjoxLCJkb21haW5zIjpudWxsfQ=="}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := parseKept(data)
		if err != nil && all != nil {
			t.Fatalf("%v, and %v", err, all)
		}
		b := newBed(t, Options{})
		if b.restored = all; all == nil {
			return
		}
		b.take(memberA, at(0), netflow9(1, 7, template9(), set(256, one{}.data(0))))
		if len(b.flows) != 1 {
			t.Errorf("told %d records", len(b.flows))
		}
	})
}
