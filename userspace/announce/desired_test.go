package announce

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

var (
	own   = prefixes("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/25", "10.0.0.0/16", "2001:db8::/32")
	never = prefixes("198.51.100.53/32", "2001:db8:0:5::/64")
)

func TestDesired(t *testing.T) {
	const owned = "192.0.2.7/32"
	tests := map[string]struct {
		records []traffic.Record
		byHand  []traffic.Announcement
		edits   []func(*Policy)
		want    []string
		refused []string
	}{
		"nothing":      {},
		"a host":       {records: []traffic.Record{ban(owned)}, want: []string{"ipv4-unicast 192.0.2.7/32 for 192.0.2.7/32"}},
		"an IPv6 host": {records: []traffic.Record{ban("2001:db8::7/128")}, want: []string{"ipv6-unicast 2001:db8::7/128 for 2001:db8::7/128"}},
		"a prefix":     {records: []traffic.Record{ban("192.0.2.0/24")}, want: []string{"ipv4-unicast 192.0.2.0/24 for 192.0.2.0/24"}},
		"a ban that only told the script": {
			records: []traffic.Record{ban(owned, func(r *traffic.Record) { r.Ban.Drop, r.Ban.Notified = false, true })},
			want:    []string{"ipv4-unicast 192.0.2.7/32 for 192.0.2.7/32"},
		},
		"outgoing":                {records: []traffic.Record{ban(owned, outgoing)}, want: []string{"ipv4-unicast 192.0.2.7/32 for 192.0.2.7/32"}},
		"outgoing, not meant for": {records: []traffic.Record{ban(owned, outgoing, group("mail")), ban(owned, outgoing, group("dns"))}},
		"both directions": {
			records: []traffic.Record{ban(owned, outgoing), ban(owned, since(-time.Second), func(r *traffic.Record) { r.Attack.ID = "first" })},
			want:    []string{"ipv4-unicast 192.0.2.7/32 for first"},
		},
		"no ban": {records: []traffic.Record{
			ban(owned, func(r *traffic.Record) { r.Ban = traffic.Ban{} }),
			ban(owned, func(r *traffic.Record) { r.Ban.Lifted = start.Add(time.Second) }),
			ban(owned, func(r *traffic.Record) { r.Ban.DryRun = true }),
			ban(owned, func(r *traffic.Record) { r.Ban = traffic.Ban{}; r.Held = "too many" }),
		}},
		"suspended": {
			records: []traffic.Record{ban(owned)}, byHand: []traffic.Announcement{{Prefix: prefixes(owned)[0], NextHop: discard4}},
			edits: []func(*Policy){func(p *Policy) { p.Suspended = true }},
		},
		"a group without actions": {records: []traffic.Record{ban(owned, group("default"))}},
		"a group that is not listed follows default": {
			records: []traffic.Record{ban(owned, group("new"))}, edits: []func(*Policy){func(p *Policy) { p.Groups["default"] = []string{"rtbh"} }},
			want: []string{"ipv4-unicast 192.0.2.7/32 for 192.0.2.7/32"},
		},
		"by hand, the group of the host": {
			records: []traffic.Record{ban("192.0.2.200/32", group(""))}, want: []string{"ipv4-unicast 192.0.2.0/24 for 192.0.2.200/32"},
		},
		"an action that is not there": {
			records: []traffic.Record{ban(owned)}, edits: []func(*Policy){func(p *Policy) { p.Groups["web"] = []string{"gone", "rtbh"} }},
			want:    []string{"ipv4-unicast 192.0.2.7/32 for 192.0.2.7/32"},
			refused: []string{"192.0.2.7 no_action for 192.0.2.7/32"},
		},
		"not ours":  {records: []traffic.Record{ban("203.0.113.200/32")}, refused: []string{"203.0.113.200/32 not_ours for 203.0.113.200/32"}},
		"never ban": {records: []traffic.Record{ban("198.51.100.53/32")}, refused: []string{"198.51.100.53/32 never_ban for 198.51.100.53/32"}},
		"too wide":  {records: []traffic.Record{ban("10.0.0.0/20")}, refused: []string{"10.0.0.0/20 too_wide for 10.0.0.0/20"}},
		"no next hop": {
			records: []traffic.Record{ban("2001:db8::7/128", group("mail"))}, refused: []string{"2001:db8::/48 no_next_hop for 2001:db8::7/128"},
			edits: []func(*Policy){func(p *Policy) { p.Actions["scrub"] = withoutNeverBan(p.Actions["scrub"]) }},
		},
		"covering prefix": {
			records: []traffic.Record{ban("192.0.2.7/32", group("mail")), ban("192.0.2.9/32", group("mail"), since(-time.Second))},
			want:    []string{"ipv4-unicast 192.0.2.0/24 for 192.0.2.9/32"},
		},
		"covering prefix of others":     {records: []traffic.Record{ban("203.0.113.7/32", group("mail"))}, refused: []string{"203.0.113.0/24 not_ours for 203.0.113.7/32"}},
		"covering a never-ban host":     {records: []traffic.Record{ban("198.51.100.7/32", group("mail"))}, refused: []string{"198.51.100.0/24 never_ban for 198.51.100.7/32"}},
		"a wider target stays as it is": {records: []traffic.Record{ban("10.0.0.0/20", group("mail"))}, want: []string{"ipv4-unicast 10.0.0.0/20 for 10.0.0.0/20"}},
		"covering a never-ban host, allowed": {
			records: []traffic.Record{ban("198.51.100.7/32", group("mail")), ban("198.51.100.53/32", group("mail"))},
			edits:   []func(*Policy){action("scrub", func(a *Action) { a.OverNeverBan = true })},
			want:    []string{"ipv4-unicast 198.51.100.0/24 for 198.51.100.7/32"},
			refused: []string{"198.51.100.0/24 never_ban for 198.51.100.53/32"},
		},
		"our network that holds it": {
			records: []traffic.Record{ban("203.0.113.7/32", group("mail")), ban("10.0.7.0/24", group("mail")), ban("172.16.0.1/32", group("mail"))},
			edits:   []func(*Policy){action("scrub", func(a *Action) { a.Length[0] = LengthNetwork })},
			want:    []string{"ipv4-unicast 10.0.0.0/16 for 10.0.7.0/24", "ipv4-unicast 203.0.113.0/25 for 203.0.113.7/32"},
			refused: []string{"172.16.0.1/32 not_ours for 172.16.0.1/32"},
		},
		"a hostgroup as a whole": {
			records: []traffic.Record{wholeGroup("mail"), wholeGroup("web"), wholeGroup("dns")},
			edits:   []func(*Policy){action("scrub", func(a *Action) { a.GroupPrefixes = prefixes("10.0.0.0/16", "8.8.8.0/24", "198.51.100.0/24") })},
			want:    []string{"ipv4-unicast 10.0.0.0/16 for mail"},
			refused: []string{"8.8.8.0/24 not_ours for mail", "198.51.100.0/24 never_ban for mail"},
		},
		"a hostgroup as a whole, never-ban hosts allowed": {
			records: []traffic.Record{wholeGroup("mail")},
			edits:   []func(*Policy){action("scrub", func(a *Action) { a.OverNeverBan = true })},
			want:    []string{"ipv4-unicast 198.51.100.0/24 for mail"},
		},
		"rules": {
			records: []traffic.Record{ban(owned, group("dns")), ban("2001:db8::7/128", group("dns"))},
			want: []string{
				"destination 192.0.2.7/32 protocol udp then discard for 192.0.2.7/32", "destination 192.0.2.7/32 protocol icmp then rate-bytes 1000000 for 192.0.2.7/32",
				"destination 2001:db8::7/128 protocol udp then discard for 2001:db8::7/128", "destination 2001:db8::7/128 protocol icmp then rate-bytes 1000000 for 2001:db8::7/128",
			},
		},
		"rules for one IP version": {
			records: []traffic.Record{ban(owned, group("dns")), ban("2001:db8::7/128", group("dns"))},
			edits: []func(*Policy){action("filter", func(a *Action) {
				six, four := a.Rules[0], a.Rules[1]
				six.Version, four.Source = 6, prefixes("8.8.8.0/24")[0]
				a.Rules = []traffic.Rule{six, four}
			})},
			want: []string{
				"destination 192.0.2.7/32 source 8.8.8.0/24 protocol icmp then rate-bytes 1000000 for 192.0.2.7/32",
				"destination 2001:db8::7/128 protocol udp then discard for 2001:db8::7/128",
			},
		},
		"rules that are none": {
			records: []traffic.Record{ban(owned, group("dns"))},
			edits: []func(*Policy){action("filter", func(a *Action) {
				a.Rules[0].Actions, a.Rules[1].Payload = nil, []traffic.Payload{{Value: "x"}}
			})},
			refused: []string{"destination 192.0.2.7/32 protocol udp then bad_rule for 192.0.2.7/32",
				"destination 192.0.2.7/32 protocol icmp payload 0:78 then rate-bytes 1000000 bad_rule for 192.0.2.7/32"},
		},
		"rules like each other but for their actions": {
			records: []traffic.Record{ban(owned, group("dns"))},
			edits:   []func(*Policy){action("filter", func(a *Action) { a.Rules[1].Protocols = a.Rules[0].Protocols })},
			want:    []string{"destination 192.0.2.7/32 protocol udp then discard for 192.0.2.7/32"},
			refused: []string{"destination 192.0.2.7/32 protocol udp then rate-bytes 1000000 conflict for 192.0.2.7/32 to a",
				"destination 192.0.2.7/32 protocol udp then rate-bytes 1000000 conflict for 192.0.2.7/32 to b"},
		},
		"several actions": {
			records: []traffic.Record{ban(owned, group("all"))},
			want: []string{"ipv4-unicast 192.0.2.7/32 for 192.0.2.7/32", "destination 192.0.2.7/32 protocol udp then discard for 192.0.2.7/32",
				"destination 192.0.2.7/32 protocol icmp then rate-bytes 1000000 for 192.0.2.7/32"},
		},
		"two actions announce the same": {
			records: []traffic.Record{ban(owned, group("twice"))},
			edits:   []func(*Policy){func(p *Policy) { p.Groups["twice"], p.Actions["again"] = []string{"rtbh", "again"}, p.Actions["rtbh"] }},
			want:    []string{"ipv4-unicast 192.0.2.7/32 for 192.0.2.7/32"},
			refused: []string{"192.0.2.7/32 conflict for 192.0.2.7/32 to a", "192.0.2.7/32 conflict for 192.0.2.7/32 to b"},
		},
		"one peer": {
			records: []traffic.Record{ban(owned)}, edits: []func(*Policy){action("rtbh", func(a *Action) { a.Announcements[0].Peers = []string{"b"} })},
			want: []string{"ipv4-unicast 192.0.2.7/32 to b for 192.0.2.7/32"},
		},
		"one peer, and the others": {
			records: []traffic.Record{ban(owned)},
			edits: []func(*Policy){action("rtbh", func(a *Action) {
				special := a.Announcements[0]
				special.Peers = []string{"b"}
				a.Announcements = append(a.Announcements, special)
			})},
			want: []string{"ipv4-unicast 192.0.2.7/32 to a for 192.0.2.7/32", "ipv4-unicast 192.0.2.7/32 to b for 192.0.2.7/32"},
		},
		"each peer, and the others that there are not": {
			records: []traffic.Record{ban(owned)},
			edits: []func(*Policy){action("rtbh", func(a *Action) {
				special := a.Announcements[0]
				special.Peers = []string{"b", "a"}
				a.Announcements = append(a.Announcements, special)
			})},
			want: []string{"ipv4-unicast 192.0.2.7/32 to a,b for 192.0.2.7/32"},
		},
		"a peer that is not there": {
			records: []traffic.Record{ban(owned)}, edits: []func(*Policy){action("rtbh", func(a *Action) { a.Announcements[0].Peers = []string{"b", "c"} })},
			want:    []string{"ipv4-unicast 192.0.2.7/32 to b for 192.0.2.7/32"},
			refused: []string{"192.0.2.7/32 no_receiver for 192.0.2.7/32 to c"},
		},
		"no peers": {
			records: []traffic.Record{ban(owned)}, edits: []func(*Policy){func(p *Policy) { p.Receivers = nil }},
			refused: []string{"192.0.2.7/32 no_receiver for 192.0.2.7/32"},
		},
		"a peer that does not carry it": {
			records: []traffic.Record{ban("2001:db8::7/128")}, edits: []func(*Policy){func(p *Policy) { p.Receivers[0] = receiver("a", 9, unicast4) }},
			want: []string{"ipv6-unicast 2001:db8::7/128 for 2001:db8::7/128"},
		},
		"no peer that carries it": {
			records: []traffic.Record{ban("2001:db8::7/128")},
			edits:   []func(*Policy){func(p *Policy) { p.Receivers = []Receiver{receiver("a", 9, unicast4, flowSpec6)} }},
			refused: []string{"2001:db8::7/128 no_receiver for 2001:db8::7/128"},
		},
		"the oldest have the places": {
			records: []traffic.Record{ban("192.0.2.1/32"), ban("192.0.2.2/32", since(-time.Second)), ban("192.0.2.3/32", since(time.Second)), ban("2001:db8::1/128")},
			edits: []func(*Policy){func(p *Policy) {
				p.Receivers = []Receiver{receiver("a", 1, unicast4, unicast6), receiver("b", 2, unicast4, unicast6)}
			}},
			want: []string{"ipv4-unicast 192.0.2.2/32 for 192.0.2.2/32", "ipv4-unicast 192.0.2.1/32 to b for 192.0.2.1/32",
				"ipv6-unicast 2001:db8::1/128 for 2001:db8::1/128"},
			refused: []string{"192.0.2.1/32 max_routes for 192.0.2.1/32 to a", "192.0.2.3/32 max_routes for 192.0.2.3/32 to a", "192.0.2.3/32 max_routes for 192.0.2.3/32 to b"},
		},
		"by hand": {
			records: []traffic.Record{ban("192.0.2.1/32", since(-time.Hour)), ban("192.0.2.2/32")},
			byHand: []traffic.Announcement{
				{Prefix: prefixes("192.0.2.2/32")[0], NextHop: discard4, Peers: []string{"a"}},
				{Prefix: prefixes("192.0.2.4/32")[0], NextHop: discard6},
				{Prefix: prefixes("8.8.8.8/32")[0], NextHop: discard4},
				{Prefix: prefixes("0.0.0.0/0")[0], NextHop: discard4},
				{},
			},
			edits: []func(*Policy){func(p *Policy) { p.Receivers[0] = receiver("a", 1, unicast4) }},
			want: []string{"ipv4-unicast 192.0.2.2/32 to a for manual", "ipv4-unicast 192.0.2.1/32 to b for 192.0.2.1/32",
				"ipv4-unicast 192.0.2.2/32 to b for 192.0.2.2/32"},
			refused: []string{"invalid Prefix not_ours for manual", "0.0.0.0/0 too_wide for manual", "8.8.8.8/32 not_ours for manual", "192.0.2.4/32 no_next_hop for manual",
				"192.0.2.1/32 max_routes for 192.0.2.1/32 to a", "192.0.2.2/32 conflict for 192.0.2.2/32 to a"},
		},
		"broken records": {
			records: []traffic.Record{
				ban(owned, func(r *traffic.Record) { r.Attack.Target.Prefix = netip.Prefix{} }),
				ban(owned, func(r *traffic.Record) { r.Attack.Target.Prefix = netip.MustParsePrefix("192.0.2.7/24") }),
				ban(owned, func(r *traffic.Record) { r.Attack.Target.Prefix = netip.MustParsePrefix("::ffff:192.0.2.7/128") }),
				ban(owned, func(r *traffic.Record) { r.Attack.Target.Direction = traffic.Internal }),
			},
			refused: []string{"invalid Prefix not_ours for 192.0.2.7/32", "192.0.2.7/24 not_ours for 192.0.2.7/32", "::ffff:192.0.2.7/128 not_ours for 192.0.2.7/32"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, refused := Desired(test.records, test.byHand, basic(t, test.edits...), guardsOf(own, never))
			if diff := cmp.Diff(brief(got), test.want, compare); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
			if diff := cmp.Diff(why(refused), test.refused, compare); diff != "" {
				t.Errorf("refused (-got +want)\n%s", diff)
			}
			for _, r := range refused {
				if r.Detail == "" || r.Error() == "" {
					t.Errorf("got %+v without words", r)
				}
			}
		})
	}
}

// withoutNeverBan lets an action announce what holds hosts that are never banned.
func withoutNeverBan(a Action) Action {
	a.OverNeverBan = true
	return a
}

// TestAttributes: everything that an action says of an announcement comes with it.
func TestAttributes(t *testing.T) {
	to := Attributes{
		Peers: []string{"b"}, NextHop: [2]netip.Addr{discard4, discard6}, Communities: []uint32{1, 2}, LargeCommunities: [][3]uint32{{1, 2, 3}},
		ExtendedCommunities: [][8]byte{{1}}, LocalPref: number(7), MED: number(8), Prepend: 3,
	}
	p := basic(t, action("rtbh", func(a *Action) { a.Announcements = []Attributes{to} }), action("filter", func(a *Action) {
		a.Announcements = []Attributes{to}
		a.Rules = a.Rules[:1]
	}))
	filter := rule(t, "destination 192.0.2.7/32 protocol udp then discard")
	want := []traffic.Announcement{{
		Prefix: prefixes("192.0.2.7/32")[0], NextHop: discard4, Communities: to.Communities, LargeCommunities: to.LargeCommunities,
		ExtendedCommunities: to.ExtendedCommunities, LocalPref: number(7), MED: number(8), Prepend: 3, Peers: []string{"b"}, Owner: "192.0.2.7/32",
	}, {
		Rule: &filter, Communities: to.Communities, LargeCommunities: to.LargeCommunities,
		ExtendedCommunities: to.ExtendedCommunities, LocalPref: number(7), MED: number(8), Prepend: 3, Peers: []string{"b"}, Owner: "192.0.2.7/32",
	}}
	got, _ := Desired([]traffic.Record{ban("192.0.2.7/32", group("all"))}, nil, p, guardsOf(own, never))
	if diff := cmp.Diff(got, want, compare); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	again, _ := Desired(nil, want, p, guardsOf(own, never))
	slices.Reverse(want) // by their keys
	for i := range want {
		want[i].Owner = Manual
	}
	if diff := cmp.Diff(again, want, compare); diff != "" {
		t.Errorf("the same by hand (-got +want)\n%s", diff)
	}
}

// TestNoNetworks: whoever knows no networks announces nothing.
func TestNoNetworks(t *testing.T) {
	got, refused := Desired([]traffic.Record{ban("192.0.2.7/32"), ban("192.0.2.8/32", group("dns")), wholeGroup("mail")}, nil, basic(t), Guards{})
	if len(got) > 0 || len(refused) != 3 {
		t.Errorf("got %v, refused %v", brief(got), why(refused))
	}
}

func TestAggregate(t *testing.T) {
	hosts := func(texts ...string) []traffic.Record {
		var all []traffic.Record
		for i, text := range texts {
			all = append(all, ban(text, since(time.Duration(i)*time.Second)))
		}
		return all
	}
	over := func(n int) func(*Policy) { return func(p *Policy) { p.Aggregate.Over = n } }
	tests := map[string]struct {
		records []traffic.Record
		edits   []func(*Policy)
		want    []string
		refused []string
	}{
		"off": {records: hosts("192.0.2.1/32", "192.0.2.2/32"), want: []string{"ipv4-unicast 192.0.2.1/32 for 192.0.2.1/32", "ipv4-unicast 192.0.2.2/32 for 192.0.2.2/32"}},
		"not over": {
			records: hosts("192.0.2.1/32", "192.0.2.2/32"), edits: []func(*Policy){over(2)},
			want: []string{"ipv4-unicast 192.0.2.1/32 for 192.0.2.1/32", "ipv4-unicast 192.0.2.2/32 for 192.0.2.2/32"},
		},
		"over": {
			records: hosts("10.0.0.9/32", "192.0.2.1/32", "10.0.1.9/32", "192.0.2.2/32", "192.0.2.3/32"), edits: []func(*Policy){over(2)},
			want: []string{"ipv4-unicast 10.0.0.9/32 for 10.0.0.9/32", "ipv4-unicast 192.0.2.0/24 for 192.0.2.1/32", "ipv4-unicast 10.0.1.9/32 for 10.0.1.9/32"},
		},
		"one host twice is one": {
			records: append(hosts("192.0.2.1/32", "192.0.2.2/32"), ban("192.0.2.2/32", outgoing)), edits: []func(*Policy){over(2)},
			want: []string{"ipv4-unicast 192.0.2.1/32 for 192.0.2.1/32", "ipv4-unicast 192.0.2.2/32 for 192.0.2.2/32"},
		},
		"IPv6": {
			records: hosts("2001:db8:1::1/128", "2001:db8:1:2::1/128", "2001:db8:1:3::1/128", "2001:db8:2::1/128"), edits: []func(*Policy){over(2)},
			want: []string{"ipv6-unicast 2001:db8:1::/48 for 2001:db8:1::1/128", "ipv6-unicast 2001:db8:2::1/128 for 2001:db8:2::1/128"},
		},
		"parts of it, and itself": {
			records: hosts("192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32", "192.0.2.64/26", "192.0.2.0/24"), edits: []func(*Policy){over(2)},
			want: []string{"ipv4-unicast 192.0.2.0/24 for 192.0.2.1/32"},
		},
		"parts are no hosts": {
			records: hosts("192.0.2.0/26", "192.0.2.64/26", "192.0.2.128/26"), edits: []func(*Policy){over(2)},
			want: []string{"ipv4-unicast 192.0.2.0/26 for 192.0.2.0/26", "ipv4-unicast 192.0.2.64/26 for 192.0.2.64/26", "ipv4-unicast 192.0.2.128/26 for 192.0.2.128/26"},
		},
		"not wholly ours": {
			records: hosts("203.0.113.1/32", "203.0.113.2/32"), edits: []func(*Policy){over(1)},
			want:    []string{"ipv4-unicast 203.0.113.1/32 for 203.0.113.1/32", "ipv4-unicast 203.0.113.2/32 for 203.0.113.2/32"},
			refused: []string{"203.0.113.0/24 not_ours for 203.0.113.1/32 as aggregate"},
		},
		"a host in it is never banned": {
			records: hosts("198.51.100.1/32", "198.51.100.2/32", "198.51.100.3/32"), edits: []func(*Policy){over(1)},
			want: []string{"ipv4-unicast 198.51.100.1/32 for 198.51.100.1/32", "ipv4-unicast 198.51.100.2/32 for 198.51.100.2/32",
				"ipv4-unicast 198.51.100.3/32 for 198.51.100.3/32"},
			refused: []string{"198.51.100.0/24 never_ban for 198.51.100.1/32 as aggregate"},
		},
		"wider than the action may": {
			records: hosts("10.0.0.1/32", "10.0.1.1/32"),
			edits:   []func(*Policy){over(1), func(p *Policy) { p.Aggregate.Length[0] = 20 }},
			want:    []string{"ipv4-unicast 10.0.0.1/32 for 10.0.0.1/32", "ipv4-unicast 10.0.1.1/32 for 10.0.1.1/32"},
			refused: []string{"10.0.0.0/20 too_wide for 10.0.0.1/32 as aggregate"},
		},
		"only blackholes": {
			records: []traffic.Record{ban("192.0.2.1/32", group("dns")), ban("192.0.2.2/32", group("dns"))},
			edits:   []func(*Policy){over(1), action("filter", func(a *Action) { a.Rules = a.Rules[:1] })},
			want: []string{"destination 192.0.2.1/32 protocol udp then discard for 192.0.2.1/32",
				"destination 192.0.2.2/32 protocol udp then discard for 192.0.2.2/32"},
		},
		"each action by itself": {
			records: append(hosts("192.0.2.1/32", "192.0.2.2/32"), ban("192.0.2.3/32", group("other"), since(time.Hour))),
			edits: []func(*Policy){over(2), func(p *Policy) {
				p.Groups["other"], p.Actions["other"] = []string{"other"}, p.Actions["rtbh"]
			}},
			want: []string{"ipv4-unicast 192.0.2.1/32 for 192.0.2.1/32", "ipv4-unicast 192.0.2.2/32 for 192.0.2.2/32", "ipv4-unicast 192.0.2.3/32 for 192.0.2.3/32"},
		},
		"room under the maximum": {
			records: hosts("192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32", "10.0.0.1/32"),
			edits:   []func(*Policy){over(2), func(p *Policy) { p.Receivers = []Receiver{receiver("a", 2, unicast4)} }},
			want:    []string{"ipv4-unicast 192.0.2.0/24 for 192.0.2.1/32", "ipv4-unicast 10.0.0.1/32 for 10.0.0.1/32"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, refused := Desired(test.records, nil, basic(t, test.edits...), guardsOf(own, never))
			if diff := cmp.Diff(brief(got), test.want, compare); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
			if diff := cmp.Diff(why(refused), test.refused, compare); diff != "" {
				t.Errorf("refused (-got +want)\n%s", diff)
			}
		})
	}
}

func TestNames(t *testing.T) {
	names := map[string]bool{}
	for k := range KindCount {
		names[k.String()] = true
	}
	for r := range ReasonCount {
		names[r.String()] = true
	}
	if names[""] || len(names) != int(KindCount)+int(ReasonCount) || KindCount.String() != "kind(3)" || ReasonCount.String() != "reason(9)" {
		t.Errorf("got names %v", names)
	}
}
