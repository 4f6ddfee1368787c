package netflow

import "testing"

func TestSequence(t *testing.T) {
	type datagram struct {
		number        uint32
		units, others int
	}
	run := func(from, step uint32, n, units, others int) (all []datagram) {
		for i := range n {
			all = append(all, datagram{from + uint32(i)*step, units, others})
		}
		return all
	}
	for _, tt := range []struct {
		name      string
		datagrams []datagram
		lost      uint64
		restarts  uint64
		swapped   bool
	}{
		{"all there", run(5, 1, 20, 1, 30), 0, 0, false},
		{"records", run(5, 30, 20, 30, 1), 0, 0, false},
		{"over the end", run(1<<32-10, 1, 20, 1, 30), 0, 0, false},
		{"gap", []datagram{{1, 1, 30}, {5, 1, 30}, {6, 1, 30}}, 3, 0, false},
		{"gap of records", []datagram{{0, 30, 1}, {90, 30, 1}, {120, 30, 1}}, 60, 0, false},
		{"overtaken", []datagram{{1, 1, 30}, {3, 1, 30}, {2, 1, 30}, {4, 1, 30}}, 0, 0, false},
		{"restart", []datagram{{5000, 1, 30}, {1, 1, 30}, {2, 1, 30}}, 0, 1, false},
		{"leap", []datagram{{1, 1, 30}, {1 << 30, 1, 30}, {1<<30 + 1, 1, 30}}, 0, 1, false},
		{"counts records where datagrams are due", run(0, 30, 20, 1, 30), 0, 0, true},
		{"counts datagrams where records are due", run(0, 1, 20, 30, 1), 0, 0, true},
		{"and then loses some", append(run(0, 30, 20, 1, 30), datagram{20*30 + 90, 1, 30}, datagram{20*30 + 120, 1, 30}), 90, 0, true},
		{"too little evidence", append(run(0, 30, 5, 1, 30), run(121, 1, 9, 1, 30)...), 4 * 29, 0, false},
		{"nobody can say how many", []datagram{{0, 30, 1}, {30, unknown, 1}, {75, 30, 1}, {135, 30, 1}}, 30, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var q sequence
			for _, d := range tt.datagrams {
				q.follow(d.number, d.units, d.others)
			}
			if q.lost != tt.lost || q.restarts != tt.restarts || q.swapped != tt.swapped || q.datagrams != uint64(len(tt.datagrams)) {
				t.Errorf("lost %d, %d restarts, swapped %t of %d; want %d, %d, %t of %d", q.lost, q.restarts, q.swapped, q.datagrams, tt.lost, tt.restarts, tt.swapped, len(tt.datagrams))
			}
		})
	}
}

// Each version counts in its own unit.
func TestLost(t *testing.T) {
	template9, template10 := setOf(0, announce(256, plain()...)), setOf(2, announce(256, plain()...))
	data := setOf(256, record(1), record(2))
	for _, tt := range []struct {
		name      string
		datagrams [][]byte
		lost      uint64
	}{
		{"version 5, flows", [][]byte{v5(0, 0, record5(1), record5(2)), v5(2, 0, record5(1)), v5(5, 0, record5(1))}, 2},
		{"version 9, datagrams", [][]byte{v9(0, 0, template9, data), v9(1, 0, data), v9(4, 0, data)}, 2},
		{"IPFIX, data records", [][]byte{ipfix(0, 0, template10), ipfix(0, 0, data, data), ipfix(4, 0, data), ipfix(9, 0, data)}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := session()
			for _, b := range tt.datagrams {
				take(t, s, 0, b)
			}
			if d := only(t, s); d.Lost != tt.lost {
				t.Errorf("lost %d, want %d", d.Lost, tt.lost)
			}
		})
	}
}
