package announce

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/userspace/networks"
	"weir/userspace/traffic"
)

var (
	start   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	compare = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()}
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func number(v uint32) *uint32 { return &v }

// ban is the record of a ban in force for a while: of a host or, if it is a prefix, of that.
func ban(text string, edits ...func(*traffic.Record)) traffic.Record {
	prefix := netip.MustParsePrefix(text)
	r := traffic.Record{
		Attack: traffic.Attack{ID: text, Target: traffic.Target{Scope: traffic.ScopePrefix, Prefix: prefix, Group: "web"}},
		Ban:    traffic.Ban{Since: start, Drop: true},
	}
	if prefix.IsSingleIP() {
		r.Attack.Target.Scope = traffic.ScopeHost
	}
	for _, edit := range edits {
		edit(&r)
	}
	return r
}

func since(d time.Duration) func(*traffic.Record) {
	return func(r *traffic.Record) { r.Ban.Since = start.Add(d) }
}

func group(name string) func(*traffic.Record) {
	return func(r *traffic.Record) { r.Attack.Target.Group = name }
}

func outgoing(r *traffic.Record) { r.Attack.Target.Direction = traffic.Outgoing }

func wholeGroup(name string) traffic.Record {
	return traffic.Record{
		Attack: traffic.Attack{ID: name, Target: traffic.Target{Scope: traffic.ScopeGroup, Group: name}},
		Ban:    traffic.Ban{Since: start, Notified: true},
	}
}

// guardsOf knows networks as the daemon does. The second half of the first network's hosts are of group "mail".
func guardsOf(own, never []netip.Prefix) Guards {
	var list []networks.Network
	for _, p := range own {
		list = append(list, networks.Network{Prefix: p})
	}
	table := networks.NewTable(list, never)
	return Guards{
		Contains: table.Contains, NeverBan: table.NeverBan, Network: table.Covering,
		Group: func(a netip.Addr) (string, bool) {
			if a.Is4() && a.As4()[3] >= 128 {
				return "mail", true
			}
			return "web", true
		},
	}
}

func rule(t testing.TB, text string) traffic.Rule {
	t.Helper()
	r, err := traffic.ParseRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// template is a rule without its destination, for both IP versions.
func template(t testing.TB, text string) traffic.Rule {
	t.Helper()
	r := rule(t, "destination 192.0.2.1/32 "+text)
	r.Destination = netip.Prefix{}
	return r
}

const (
	unicast4  = "ipv4-unicast"
	unicast6  = "ipv6-unicast"
	flowSpec4 = "ipv4-flowspec"
	flowSpec6 = "ipv6-flowspec"
)

func receiver(name string, most int, families ...string) Receiver {
	r := Receiver{Name: name, MaxRoutes: map[string]int{}}
	for _, f := range families {
		r.MaxRoutes[f] = most
	}
	return r
}

var (
	discard4, discard6 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("100::1")
	scrubber           = netip.MustParseAddr("203.0.113.1")
	both               = [2]bool{true, true}
	incoming           = [2]bool{true, false}
)

// basic is a policy with an action of each kind, each for one hostgroup, and two peers for all that there is.
func basic(t testing.TB, edits ...func(*Policy)) Policy {
	t.Helper()
	p := Policy{
		Groups: map[string][]string{"default": nil, "web": {"rtbh"}, "mail": {"scrub"}, "dns": {"filter"}, "all": {"rtbh", "filter"}},
		Actions: map[string]Action{
			"rtbh": {
				Kind: Blackhole, Directions: both, Length: [2]int{32, 128}, Widest: [2]int{24, 48},
				Announcements: []Attributes{{NextHop: [2]netip.Addr{discard4, discard6}, Communities: []uint32{666}}},
			},
			"scrub": {
				Kind: Divert, Directions: incoming, Length: [2]int{24, 48}, GroupPrefixes: prefixes("198.51.100.0/24"),
				Announcements: []Attributes{{NextHop: [2]netip.Addr{scrubber}, MED: number(5)}},
			},
			"filter": {
				Kind: FlowSpec, Directions: incoming, Length: [2]int{32, 128},
				Rules: []traffic.Rule{template(t, "protocol udp then discard"), template(t, "protocol icmp then rate-bytes 1M")}, Announcements: []Attributes{{}},
			},
		},
		Receivers: []Receiver{receiver("a", 100, unicast4, unicast6, flowSpec4, flowSpec6), receiver("b", 100, unicast4, unicast6, flowSpec4, flowSpec6)},
		Aggregate: Aggregate{Length: [2]int{24, 48}},
	}
	for _, edit := range edits {
		edit(&p)
	}
	return p
}

func action(name string, edit func(*Action)) func(*Policy) {
	return func(p *Policy) {
		a := p.Actions[name]
		edit(&a)
		p.Actions[name] = a
	}
}

// brief is an announcement in short: what, to whom, for whom.
func brief(set []traffic.Announcement) []string {
	var out []string
	for _, a := range set {
		text := a.Key()
		if a.Rule != nil {
			text = a.Route()
		}
		out = append(out, text+" for "+a.Owner)
	}
	return out
}

// why is what was refused, in short.
func why(list []Refused) []string {
	var out []string
	for _, r := range list {
		text := r.Route + " " + r.Why.String() + " for " + r.Owner
		if r.Peer != "" {
			text += " to " + r.Peer
		}
		if r.Aggregate {
			text += " as aggregate"
		}
		out = append(out, text)
	}
	return out
}
