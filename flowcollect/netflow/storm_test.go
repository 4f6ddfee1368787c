package netflow

import "testing"

// Datagrams that would cost the square of their length, were each of their parts held against all others: what they cost shows in how long
// the test takes, and what they leave is bounded.
func TestStorms(t *testing.T) {
	var withdrawals, withdrawAll, sets, fresh, early []byte
	for i := range uint16(7000) {
		withdrawals = append(withdrawals, u16(20_000+i, 0)...)
		sets = append(sets, setOf(20_000+i, u8(1))...)
	}
	for range withdrawMost - 2 {
		withdrawAll = append(withdrawAll, u16(2, 0)...)
	}
	other := []byte{}
	for i := range uint16(5000) {
		fresh = append(fresh, setOf(2, announce(10_000+i, ieProtocol, 1))...)
		other = append(other, announce(40_000+i, ieTOS, 1)...)
		early = append(early, setOf(10_000+i, u8(6))...)
	}
	for _, tt := range []struct {
		name      string
		datagrams [][]byte
	}{
		{"withdrawals and data", [][]byte{ipfix(0, 0, setOf(2, withdrawals), sets[:35_000])}},
		{"all withdrawn again and again", [][]byte{ipfix(0, 0, setOf(2, other)), ipfix(0, 0, setOf(2, withdrawAll, announce(256, short()...), withdrawAll[:4]))}},
		{"templates beyond the bounds", [][]byte{ipfix(0, 0, setOf(2, other[:4096*8])), ipfix(0, 0, fresh)}},
		{"data of many templates, and then those one by one", [][]byte{ipfix(0, 0, early), ipfix(0, 0, fresh), ipfix(0, 0, setOf(2, u16(2, 0)))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := session()
			for range 30 {
				for _, b := range tt.datagrams {
					take(t, s, 0, b)
				}
			}
			h := s.Health(noon())
			if h.Templates > 4096 || h.PendingBytes > 1<<20 || h.Waiting > 1<<20/waitingBytes {
				t.Errorf("%d templates, %d sets wait (%d bytes)", h.Templates, h.Waiting, h.PendingBytes)
			}
		})
	}
}
