package announce

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

func TestSpell(t *testing.T) {
	special := action("rtbh", func(a *Action) {
		a.Announcements = append(a.Announcements, Attributes{Peers: []string{"b"}, NextHop: [2]netip.Addr{scrubber}, MED: number(1)})
	})
	tests := map[string]struct {
		action, prefix string
		edits          []func(*Policy)
		want           []string
		err            string
	}{
		"a host":       {action: "rtbh", prefix: "192.0.2.7/32", want: []string{"ipv4-unicast 192.0.2.7/32 for manual"}},
		"its prefix":   {action: "scrub", prefix: "192.0.2.7/32", want: []string{"ipv4-unicast 192.0.2.0/24 for manual"}},
		"rules":        {action: "filter", prefix: "192.0.2.0/24", want: []string{"destination 192.0.2.0/24 protocol udp then discard for manual", "destination 192.0.2.0/24 protocol icmp then rate-bytes 1000000 for manual"}},
		"by peer":      {action: "rtbh", prefix: "192.0.2.7/32", edits: []func(*Policy){special}, want: []string{"ipv4-unicast 192.0.2.7/32 to a for manual", "ipv4-unicast 192.0.2.7/32 to b for manual"}},
		"part of them": {action: "rtbh", prefix: "2001:db8:1::/48", edits: []func(*Policy){special}, want: []string{"ipv6-unicast 2001:db8:1::/48 to a for manual"}, err: ""},
		"unknown":      {action: "none", prefix: "192.0.2.7/32", err: "announce 192.0.2.7/32: there is no action none; see the configuration"},
		"not ours":     {action: "rtbh", prefix: "8.8.8.8/32", err: `announce 8.8.8.8/32: it is not wholly inside our own networks; announce a part that is, or add it to "networks"`},
		"everything":   {action: "rtbh", prefix: "0.0.0.0/0", err: `announce 0.0.0.0/0: it is wider than /24, the widest that may be announced; see "widest" of the action`},
		"host bits":    {action: "rtbh", prefix: "192.0.2.7/24", err: "announce 192.0.2.7/24: it is not a network; give a prefix without host bits"},
		"never ban":    {action: "scrub", prefix: "198.51.100.7/32", err: "announce 198.51.100.0/24: an address of it is on the never-ban list; announce a part without it, or take it off the list"},
		"no next hop":  {action: "scrub", prefix: "2001:db8:9::/48", err: "announce 2001:db8:9::/48: there is no next hop of IPv6 for it; give one"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Spell(test.action, netip.MustParsePrefix(test.prefix), basic(t, test.edits...), guardsOf(own, never))
			if diff := cmp.Diff(brief(got), test.want, compare); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
			text := ""
			if err != nil {
				text = err.Error()
			}
			if diff := cmp.Diff(text, test.err); diff != "" {
				t.Errorf("error (-got +want)\n%s", diff)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	plain := func(prefix string, next netip.Addr, peers ...string) traffic.Announcement {
		return traffic.Announcement{Prefix: netip.MustParsePrefix(prefix), NextHop: next, Peers: peers}
	}
	filter := func(text string, edits ...func(*traffic.Rule)) traffic.Announcement {
		r := rule(t, text)
		for _, edit := range edits {
			edit(&r)
		}
		return traffic.Announcement{Rule: &r}
	}
	one := func(p *Policy) {
		p.Receivers = []Receiver{receiver("a", 1, unicast4, unicast6, flowSpec4, flowSpec6), receiver("c", 1, unicast4)}
	}
	tests := map[string]struct {
		a       traffic.Announcement
		records []traffic.Record
		byHand  []traffic.Announcement
		edits   []func(*Policy)
		want    Reason
		ok      bool
	}{
		"a host":                  {a: plain("192.0.2.7/32", discard4), ok: true},
		"wider than any action":   {a: plain("10.0.0.0/16", discard4), ok: true},
		"again":                   {a: plain("192.0.2.7/32", discard4), byHand: []traffic.Announcement{plain("192.0.2.7/32", scrubber)}, edits: []func(*Policy){one}, ok: true},
		"before a ban":            {a: plain("192.0.2.7/32", discard4), records: []traffic.Record{ban("192.0.2.7/32"), ban("192.0.2.8/32")}, edits: []func(*Policy){one}, ok: true},
		"a rule":                  {a: filter("destination 192.0.2.0/24 protocol udp then discard"), ok: true},
		"a rule for IPv6":         {a: filter("destination 2001:db8::1/128 then discard"), ok: true},
		"nothing":                 {want: NotOurs},
		"everything":              {a: plain("0.0.0.0/0", discard4), want: TooWide},
		"everything in IPv6":      {a: plain("::/0", discard6), want: TooWide},
		"not ours":                {a: plain("8.8.8.0/24", discard4), want: NotOurs},
		"host bits":               {a: plain("192.0.2.7/24", discard4), want: NotOurs},
		"never ban":               {a: plain("198.51.100.0/24", discard4), want: NeverBan},
		"next hop of IPv6":        {a: plain("192.0.2.7/32", discard6), want: NoNextHop},
		"no next hop":             {a: plain("192.0.2.7/32", netip.Addr{}), want: NoNextHop},
		"next hop nowhere":        {a: plain("192.0.2.7/32", netip.IPv4Unspecified()), want: NoNextHop},
		"nobody":                  {a: plain("192.0.2.7/32", discard4, "c"), want: NoReceiver},
		"full":                    {a: plain("192.0.2.7/32", discard4, "a"), byHand: []traffic.Announcement{plain("192.0.2.1/32", discard4)}, edits: []func(*Policy){one}, want: MaxRoutes},
		"taken":                   {a: plain("192.0.2.7/32", discard4, "a"), byHand: []traffic.Announcement{plain("192.0.2.7/32", scrubber)}, want: Conflict},
		"a rule for all":          {a: filter("protocol udp then discard"), want: BadRule},
		"a rule by its source":    {a: filter("source 192.0.2.0/24 then discard"), want: BadRule},
		"a rule for others":       {a: filter("destination 8.8.8.0/24 then discard"), want: NotOurs},
		"a rule for everybody":    {a: filter("destination 0.0.0.0/0 then discard"), want: TooWide},
		"a rule on a never-ban":   {a: filter("destination 198.51.100.53/32 then discard"), want: NeverBan},
		"a rule of no use":        {a: filter("destination 192.0.2.0/24 then discard", func(r *traffic.Rule) { r.Actions = nil }), want: BadRule},
		"a rule by the last bits": {a: filter("destination ::7/64-128 then discard"), want: BadRule},
		"a rule on the payload":   {a: filter("destination 192.0.2.0/24 payload 0:41 then discard"), want: BadRule},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := Check(test.a, test.records, test.byHand, basic(t, test.edits...), guardsOf(own, never))
			var why *Refused
			switch {
			case test.ok && err != nil:
				t.Errorf("got %v", err)
			case !test.ok && (!errors.As(err, &why) || why.Why != test.want || why.Owner != Manual):
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	suspended := basic(t, func(p *Policy) { p.Suspended = true })
	if err := Check(plain("192.0.2.7/32", discard4), nil, nil, suspended, guardsOf(own, never)); !errors.Is(err, ErrSuspended) {
		t.Errorf("got %v, want %v", err, ErrSuspended)
	}
}

func TestWithdraw(t *testing.T) {
	host := traffic.Announcement{Prefix: netip.MustParsePrefix("192.0.2.7/32")}
	toA, other := host, traffic.Announcement{Prefix: netip.MustParsePrefix("192.0.2.8/32")}
	toA.Peers = []string{"a"}
	for text, want := range map[string][2]int{"192.0.2.7/32": {2, 1}, toA.Key(): {1, 2}, host.Key(): {1, 2}, "192.0.2.9/32": {0, 3}} {
		withdrawn, kept := Withdraw([]traffic.Announcement{host, toA, other}, text)
		if len(withdrawn) != want[0] || len(kept) != want[1] {
			t.Errorf("%s: got %d withdrawn and %d kept, want %v", text, len(withdrawn), len(kept), want)
		}
	}
}
