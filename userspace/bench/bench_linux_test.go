package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/tests/need"
	"weir/userspace/traffic"
)

// A little of everything that is measured: each row is there, once, and none claims to cost nothing.
func TestXDP(t *testing.T) {
	need.Root(t)
	for _, tt := range []struct {
		name         string
		hosts, rules int
	}{
		{"few hosts", 200, 0},
		{"one host", 1, 0},
		{"rules", 256, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := XDP(t.Context(), XDPOptions{Hosts: []int{tt.hosts}, Rules: tt.rules, Filters: 1000, JSON: true, Rounds: 3, Packets: 2000}, &out); err != nil {
				t.Fatal(err)
			}
			var got struct{ Results []Cost }
			decode := json.NewDecoder(&out)
			if err := decode.Decode(&got); err != nil {
				t.Fatal(err)
			}
			if decode.More() {
				t.Error("more than one value was printed")
			}
			var names []string
			for _, c := range got.Results {
				names = append(names, c.Name)
				if c.Nanoseconds <= 0 || c.Ratio <= 0 || c.P10 > c.Ratio || c.P90 < c.Ratio || c.Hosts != powerOfTwo(tt.hosts) || c.Rules != tt.rules {
					t.Errorf("not sane: %+v", c)
				}
				if strings.HasPrefix(c.Name, "floor") && c.Ratio != 1 {
					t.Errorf("%s is %v times itself", c.Name, c.Ratio)
				}
			}
			want := []string{
				"floor", "generator", "floor_new_flows", "generator_new_flows", "floor_wide", "generator_wide", "account4", "flood_new_flows", "banned",
				"rules5", "rules5_dropped", "rules1m", "rules1m_dropped", "sources0", "sources1m",
				"floor6", "generator6", "account6",
			}
			if diff := cmp.Diff(names, want); diff != "" {
				t.Errorf("rows (-got +want):\n%s", diff)
			}
		})
	}
}

// What is called banned is dropped, what is called a new flow is one, and hosts are met with cells of their own.
func TestBed(t *testing.T) {
	need.Root(t)
	const hosts, packets = 512, 5000
	for _, family := range []int{4, 6} {
		b, err := newBed(family, hosts, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range b.phases() {
			if p.before != nil {
				if err := p.before(); err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range p.subjects {
				b.plane.Flip()
				b.plane.Flip()
				flows := counted(b, func(c *traffic.Cell) uint32 { return c.Flows })
				dropped := counted(b, func(c *traffic.Cell) uint32 { return c.DroppedPackets })
				before := b.left(s.reason)
				if _, err := b.measure(s, packets); err != nil {
					t.Fatal(err)
				}
				made := b.left(s.reason) - before // the kernel runs it once more to warm up
				flows = counted(b, func(c *traffic.Cell) uint32 { return c.Flows }) - flows
				dropped = counted(b, func(c *traffic.Cell) uint32 { return c.DroppedPackets }) - dropped
				if isBan := s.reason == traffic.ReasonBannedIn || s.reason == traffic.ReasonFilteredIn; made < packets || dropped != map[bool]uint64{true: made}[isBan] {
					t.Errorf("%s: %d of %d packets were dropped", s.name, dropped, made)
				}
				if isNew := s.stream != b.same; isNew && flows < made*99/100 || !isNew && flows > hosts {
					t.Errorf("%s: %d flows in %d packets", s.name, flows, made)
				}
			}
		}
		if c := b.plane.Counters(); c.FoldedPackets != 0 || c.Exits[0] != [traffic.ReasonCount]traffic.Count{} {
			t.Errorf("IPv%d: folded or not parsed: %+v", family, c)
		}
		if err := b.close(); err != nil {
			t.Error(err)
		}
	}
}

func counted(b *bed, of func(*traffic.Cell) uint32) (sum uint64) {
	for _, s := range b.plane.Shards() {
		for i := range s.Cells[traffic.Incoming] {
			sum += uint64(of(&s.Cells[traffic.Incoming][i]))
		}
	}
	return sum
}

// A subject whose packets go another way than its name says is an error, not a figure.
func TestBedNotices(t *testing.T) {
	need.Root(t)
	b, err := newBed(4, 16, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	}()
	s := b.subject("banned", b.weir, b.same, traffic.ReasonBannedIn) // without a ban
	if _, err := b.measure(s, 100); err == nil || !strings.Contains(err.Error(), "left as banned_in") {
		t.Errorf("got %v, want an error about packets that were not banned", err)
	}
}

func TestXDPCancelled(t *testing.T) {
	need.Root(t)
	ctx, cancel := context.WithCancel(t.Context())
	o := XDPOptions{Hosts: []int{16}, Filters: 1000, Rounds: 1000, Packets: 1000, Progress: func(int64, int64) { cancel() }}
	if err := XDP(ctx, o, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
}

// Two floods through the real daemon: each is dropped, what leaked is counted, and it is some but not all.
func TestDetect(t *testing.T) {
	need.Root(t)
	var victims []string
	var runs []Run
	err := measureDetect(t.Context(), 2, func(victim netip.Addr, r Run) error {
		victims, runs = append(victims, victim.String()), append(runs, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(victims, []string{"198.18.0.1", "198.18.0.2"}); diff != "" {
		t.Errorf("victims (-got +want):\n%s", diff)
	}
	for _, r := range runs {
		// An attack is more packets than the threshold allows in the window, so at least those have passed.
		if r.Latency <= 0 || r.Leaked < thresholdPPS || r.Leaked >= r.Sent {
			t.Errorf("not sane: %+v", r)
		}
	}
	if slices.ContainsFunc(runs, func(r Run) bool { return r.Sent == 0 }) {
		t.Error("a run without packets")
	}
}

func TestDetectPrints(t *testing.T) {
	need.Root(t)
	var out bytes.Buffer
	if err := Detect(t.Context(), DetectOptions{Runs: 1, JSON: true}, &out); err != nil {
		t.Fatal(err)
	}
	var d Detection
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.Runs != 1 || d.P50 <= 0 || d.P99 != d.P50 || d.LeakedP99 == 0 {
		t.Errorf("not sane: %+v", d)
	}
}
