package bgp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

func announce(prefix string, peers ...string) traffic.Announcement {
	p := netip.MustParsePrefix(prefix)
	a := traffic.Announcement{Prefix: p, NextHop: netip.MustParseAddr("192.0.2.1"), Peers: peers}
	if p.Addr().Is6() {
		a.NextHop = netip.MustParseAddr("100::1")
	}
	return a
}

func marked(a traffic.Announcement, community uint32) traffic.Announcement {
	a.Communities = []uint32{community}
	return a
}

// brief is an operation in short: "0+203.0.113.7/32 5" tells peer 0 the route with community 5, "0-..." takes it back.
func brief(operations []operation) []string {
	all := []string{}
	for _, o := range operations {
		_, prefix, _ := strings.Cut(o.id(), " ")
		switch {
		case o.Route == nil:
			all = append(all, fmt.Sprintf("%d-%s", o.Peer, prefix))
		case len(o.Route.Communities) > 0:
			all = append(all, fmt.Sprintf("%d+%s %d", o.Peer, prefix, o.Route.Communities[0]))
		default:
			all = append(all, fmt.Sprintf("%d+%s", o.Peer, prefix))
		}
	}
	return all
}

func TestPlan(t *testing.T) {
	peers := Config{Peers: []Peer{
		{Name: "a", MaxRoutes: map[Family]int{IPv4Unicast: 3}},
		{Name: "b", Families: []Family{IPv4Unicast}},
	}}.withDefaults().Peers
	type step struct {
		wanted []traffic.Announcement
		want   []string
		errors []string // of the announcements at peers, in their order
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"all peers, by family", []step{
			{[]traffic.Announcement{announce("203.0.113.1/32"), announce("2001:db8::1/128")}, []string{"0+203.0.113.1/32", "0+2001:db8::1/128", "1+203.0.113.1/32"}, nil},
			{[]traffic.Announcement{announce("203.0.113.1/32"), announce("2001:db8::1/128")}, []string{}, nil},
			{nil, []string{"0-203.0.113.1/32", "0-2001:db8::1/128", "1-203.0.113.1/32"}, nil},
		}},
		{"a peer that does not speak the family, by name", []step{
			{[]traffic.Announcement{announce("2001:db8::1/128", "b")}, []string{}, []string{"b: the peer is not configured for ipv6-unicast"}},
		}},
		{"a peer that does not exist", []step{
			{[]traffic.Announcement{announce("203.0.113.1/32", "c")}, []string{}, []string{"c: no peer has this name"}},
		}},
		{"changed", []step{
			{[]traffic.Announcement{marked(announce("203.0.113.1/32", "a"), 1)}, []string{"0+203.0.113.1/32 1"}, nil},
			{[]traffic.Announcement{marked(announce("203.0.113.1/32", "a"), 2)}, []string{"0+203.0.113.1/32 2"}, nil},
		}},
		{"of one key the later counts", []step{
			{[]traffic.Announcement{marked(announce("203.0.113.1/32"), 1), marked(announce("203.0.113.1/32"), 2)}, []string{"0+203.0.113.1/32 2", "1+203.0.113.1/32 2"}, nil},
		}},
		{"the one for a peer in particular counts, wherever it stands", []step{
			{[]traffic.Announcement{marked(announce("203.0.113.1/32", "b"), 2), marked(announce("203.0.113.1/32"), 1)},
				[]string{"0+203.0.113.1/32 1", "1+203.0.113.1/32 2"}, []string{"b: another announcement of the same is for this peer in particular"}},
			{[]traffic.Announcement{marked(announce("203.0.113.1/32"), 1), marked(announce("203.0.113.1/32", "b"), 2)},
				[]string{}, []string{"b: another announcement of the same takes its place"}},
			{[]traffic.Announcement{marked(announce("203.0.113.1/32"), 1)}, []string{"1+203.0.113.1/32 1"}, nil},
		}},
		{"the covering prefix comes before its hosts go", []step{
			{[]traffic.Announcement{announce("203.0.113.1/32", "b"), announce("203.0.113.2/32", "b")}, []string{"1+203.0.113.1/32", "1+203.0.113.2/32"}, nil},
			{[]traffic.Announcement{announce("203.0.113.0/24", "b")}, []string{"1+203.0.113.0/24", "1-203.0.113.1/32", "1-203.0.113.2/32"}, nil},
		}},
		{"the maximum", []step{
			{[]traffic.Announcement{announce("203.0.113.1/32", "a"), announce("203.0.113.2/32", "a"), announce("2001:db8::1/128", "a")},
				[]string{"0+203.0.113.1/32", "0+203.0.113.2/32", "0+2001:db8::1/128"}, nil},
			// Who is there stays, although others stand before it.
			{[]traffic.Announcement{announce("203.0.113.4/32", "a"), announce("203.0.113.3/32", "a"), announce("203.0.113.1/32", "a"), announce("203.0.113.2/32", "a")},
				[]string{"0+203.0.113.4/32", "0-2001:db8::1/128"}, []string{"a: over the maximum of 3 routes of ipv4-unicast"}},
			// Not even for a moment are there more: one goes first.
			{[]traffic.Announcement{announce("203.0.113.3/32", "a"), announce("203.0.113.1/32", "a"), announce("203.0.113.2/32", "a")},
				[]string{"0-203.0.113.4/32", "0+203.0.113.3/32"}, nil},
		}},
		{"what cannot be announced", []step{
			{[]traffic.Announcement{{}, {Prefix: netip.MustParsePrefix("203.0.113.1/32")}, {Prefix: netip.MustParsePrefix("203.0.113.2/32"), NextHop: netip.MustParseAddr("100::1")}, {Rule: &traffic.Rule{}},
				{Prefix: netip.MustParsePrefix("::ffff:203.0.113.1/128")}, {Prefix: netip.MustParsePrefix("203.0.113.3/32"), Communities: make([]uint32, 101)}},
				[]string{}, []string{
					"announce nothing: neither a prefix nor a rule is given",
					"announce 203.0.113.1/32: a next hop is missing",
					"announce 203.0.113.2/32: the next hop 100::1 must be an address of its family",
					"announce rule then: it must say which IP version it is for, by a prefix or by itself",
					"announce ::ffff:203.0.113.1/128: write it as an IPv4 prefix",
					"announce 203.0.113.3/32: at most 100 communities of each kind can be sent",
				}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := newTable(peers)
			sessions := make([]PeerState, len(peers))
			for i := range sessions {
				sessions[i] = PeerState{Session: Established, Families: Families()}
			}
			for i, s := range tt.steps {
				got := brief(table.update(s.wanted))
				if diff := cmp.Diff(got, s.want); diff != "" {
					t.Errorf("step %d (-got +want):\n%s", i, diff)
				}
				var errors []string
				for _, r := range table.routes(sessions) {
					if r.Error != "" {
						errors = append(errors, r.Error)
					}
					for _, p := range r.Peers {
						if p.Error != "" {
							errors = append(errors, p.Name+": "+p.Error)
						}
					}
				}
				if diff := cmp.Diff(errors, s.errors); diff != "" {
					t.Errorf("step %d, errors (-got +want):\n%s", i, diff)
				}
			}
		})
	}
}

// When a route counts as told, and who says that it is not.
func TestConfirm(t *testing.T) {
	table := newTable(Config{Peers: []Peer{{Name: "a"}}}.withDefaults().Peers)
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	up := []PeerState{{Session: Established, Since: began.Add(time.Hour), Families: []Family{IPv4Unicast}}}
	operations := table.update([]traffic.Announcement{announce("203.0.113.1/32"), announce("203.0.113.2/32"), announce("2001:db8::1/128"), announce("203.0.113.3/32")})
	last := operations[len(operations)-1].Sequence
	check := func(when string, sessions []PeerState, want ...RoutePeer) {
		t.Helper()
		var got []RoutePeer
		for _, r := range table.routes(sessions) {
			got = append(got, r.Peers...)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", when, diff)
		}
	}
	foreign := RoutePeer{Name: "a", Error: "the peer does not speak ipv6-unicast"}
	check("at first", up, RoutePeer{Name: "a"}, RoutePeer{Name: "a"}, foreign, RoutePeer{Name: "a"})
	table.confirm(began, 0, operations[0].Sequence, nil)
	check("the first before the session", up, RoutePeer{Name: "a", Since: began.Add(time.Hour)}, RoutePeer{Name: "a"}, foreign, RoutePeer{Name: "a"})
	later := began.Add(2 * time.Hour)
	table.confirm(later, 0, last, []rejection{{operations[1].id(), operations[1].Sequence, "no"}, {operations[3].id(), 0, "of an earlier one"}})
	check("all", up, RoutePeer{Name: "a", Since: began.Add(time.Hour)}, RoutePeer{Name: "a", Error: "no"}, foreign, RoutePeer{Name: "a", Since: later})
	down := RoutePeer{Name: "a", Error: "the session is not up"}
	check("the session is lost", []PeerState{{Session: Idle}}, down, RoutePeer{Name: "a", Error: "no"}, down, down)
	table.forget()
	if got := brief(table.update([]traffic.Announcement{announce("203.0.113.1/32")})); !cmp.Equal(got, []string{"0+203.0.113.1/32"}) {
		t.Errorf("a new child is told %v", got)
	}
}

func TestBatches(t *testing.T) {
	table := newTable(Config{Peers: []Peer{{Name: "a"}, {Name: "b"}}}.withDefaults().Peers)
	var wanted []traffic.Announcement
	for i := range batchOperations {
		wanted = append(wanted, announce(fmt.Sprintf("100.64.%d.%d/32", i>>8, i&255)))
	}
	operations := append(table.update(wanted), table.update(wanted[1:])...)
	all := batches(operations)
	var got []operation
	for i, b := range all {
		if b.Complete != (i == len(all)-1) {
			t.Errorf("batch %d of %d: complete %v", i, len(all), b.Complete)
		}
		part, err := b.unpack(2)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, part...)
	}
	if diff := cmp.Diff(got, operations, cmp.AllowUnexported(netip.Prefix{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	for _, b := range []batch{
		{Operations: []numbered{{Peer: 2, Withdraw: "x"}}}, {Operations: []numbered{{Peer: -1, Withdraw: "x"}}},
		{Operations: []numbered{{Route: 1}}}, {Operations: []numbered{{}}},
	} {
		if _, err := b.unpack(2); err == nil {
			t.Errorf("%+v is taken", b)
		}
	}
}
