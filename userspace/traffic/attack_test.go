package traffic

import (
	"testing"
	"time"
)

func TestTripString(t *testing.T) {
	for _, tt := range []struct {
		trip Trip
		want string
	}{
		{Trip{}, "by hand"},
		{Trip{Metric: PPS, Count: 5200, Window: time.Second, Value: 52_000, Limit: 20_000},
			"pps: 5200 packets counted, 52000 packets/s > 20000 packets/s x 1s"},
		{Trip{Metric: UDPBPS, Count: 1_500_000_000, Window: time.Second, Value: 1.5e9, Limit: 1e9},
			"udp_mbps: 1500000000 bits counted, 1500000000 bits/s > 1000000000 bits/s x 1s"},
		{Trip{Metric: FPS, Count: 4000, Window: 10 * time.Second, Value: 400, Limit: 350},
			"flows: 4000 flows counted, 400 flows/s > 350 flows/s x 10s"},
		{Trip{Metric: PPS, Count: 52_000, Window: time.Second, Value: 52_000, Limit: 20_000, Lower: 47_141.7, Seen: 310, Confidence: 0.95},
			"pps: 52000 packets counted, 52000 packets/s (at least 47142 at 95 %, from 310 samples) > 20000 packets/s x 1s"},
		{Trip{Metric: BPS, Count: 8, Window: time.Second, Value: 8, Limit: 1, Lower: 3, Seen: 7, Confidence: 0.999},
			"mbps: 8 bits counted, 8 bits/s (at least 3 at 99.9 %, from 7 samples) > 1 bits/s x 1s"},
	} {
		if got := tt.trip.String(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestCountsAddSub(t *testing.T) {
	a := Counts{
		Total: Count{10, 11}, Flows: 12, TCP: Count{13, 14}, UDP: Count{15, 16}, ICMP: Count{17, 18}, TCPSYN: Count{19, 20},
		Fragments: Count{21, 22}, Dropped: Count{23, 24}, Unseen: 25,
	}
	b := a
	b.Add(&a)
	if want := (Counts{
		Total: Count{20, 22}, Flows: 24, TCP: Count{26, 28}, UDP: Count{30, 32}, ICMP: Count{34, 36}, TCPSYN: Count{38, 40},
		Fragments: Count{42, 44}, Dropped: Count{46, 48}, Unseen: 50,
	}); b != want {
		t.Errorf("Add: got %+v, want %+v", b, want)
	}
	b.Sub(&a)
	if b != a {
		t.Errorf("Sub: got %+v, want %+v", b, a)
	}
}
