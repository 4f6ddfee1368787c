package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/api"
)

func (f *fake) announce(_ context.Context, o api.AnnounceOrder) ([]string, error) {
	f.asked = o
	if o.Action == "none" {
		return nil, api.Refused(errors.New("announce 192.0.2.1/32: no action none"))
	}
	return []string{"192.0.2.1/32", "a\x1bb"}, nil
}

func (f *fake) withdraw(_ context.Context, o api.WithdrawOrder) ([]string, error) {
	f.asked = o
	if o.Text == "192.0.2.9/32" {
		return nil, api.NotFound(errors.New("withdraw 192.0.2.9/32: not announced by hand"))
	}
	return []string{o.Text}, nil
}

// routers is a speaker with one peer up, one down, and ExaBGP waiting for a reader.
func routers() api.BGPStatus {
	return api.BGPStatus{
		Configured: true,
		Speaker:    api.BGPSpeaker{Up: true, PID: 4711, Restarts: 2, Error: "signal: killed"},
		Peers: []api.BGPPeer{
			{Name: "edge", Kind: "peer", Address: "192.0.2.254", AS: 4200000000, Session: "established", Since: dawn(), Ups: 3, Sent: 12345, Received: 17,
				Families: []string{"ipv4-unicast", "ipv6-unicast"}, Routes: map[string]int{"ipv4-unicast": 40, "ipv6-unicast": 2}, RefusedRoutes: map[string]int{"ipv4-unicast": 5}},
			{Name: "core", Kind: "peer", Address: "2001:db8::ffff", AS: 64500, Session: "active", Since: dawn(), Error: "the peer says: bad peer AS\x1b[2J", ErrorAt: dawn()},
			{Name: "exabgp", Kind: "exabgp", Session: "waiting"},
		},
		Routes: []api.BGPRoute{
			{Family: "ipv4-unicast", Route: "192.0.2.1/32", Owner: "manual", Peers: []api.BGPRoutePeer{{Name: "edge", Since: dawn()}, {Name: "core"}, {Name: "exabgp", Error: "too long a line"}}},
			{Family: "ipv6-unicast", Route: "2001:db8::1/128", Owner: "A1", Error: "no next hop"},
			{Family: "ipv4-unicast", Route: "192.0.2.3/32", Owner: "A2"},
		},
		Refused: []api.BGPRefusal{{Owner: "A3", Action: "rtbh", Route: "192.0.2.7/32", Reason: "never_ban", Detail: "192.0.2.7 is never banned"}},
	}
}

func TestBGPCommands(t *testing.T) {
	f := fake{bgp: routers()}
	_, socket := daemon(t, &f)
	host := netip.MustParsePrefix("192.0.2.1/32")
	const rule = "destination 192.0.2.1/32 protocol udp then discard"
	for _, test := range []struct {
		args  []string
		asked any
		shown []string // in the output for people
	}{
		{[]string{"status"}, nil, []string{
			"bgp      edge established since 2026-", ", routes 42, 5 refused\n", "bgp      core active since 2026-", ": the peer says: bad peer AS?[2J\n", "bgp      exabgp waiting, routes 0\n",
		}},
		{[]string{"bgp", "peers"}, nil, []string{
			"speaker up, process 4711, restarts 2: signal: killed\n", "4200000000  established", "12.3k", "ipv4-unicast,ipv6-unicast", "active", "bad peer AS?[2J", "waiting",
		}},
		{[]string{"bgp", "routes"}, nil, []string{"192.0.2.1/32", "announced", "core", "waiting", "too long a line", "no next hop", "nobody is told", "NOT ANNOUNCED", "192.0.2.7/32", "rtbh", "never_ban", "all"}},
		{[]string{"bgp", "routes", "--limit", "1", "--peer", "core"}, nil, []string{"192.0.2.1/32", "core"}},
		{[]string{"bgp", "routes", "--limit", "2"}, nil, []string{"2 of 3 routes shown\n"}},
		{[]string{"bgp", "announce", "192.0.2.1", "--action", "rtbh"}, api.AnnounceOrder{Action: "rtbh", Prefix: host}, []string{"announced 192.0.2.1/32\n", "announced a?b\n"}},
		{[]string{"bgp", "announce", "192.0.2.1/32", "--next-hop", "192.0.2.253", "--community", "65535:666, no-export", "--community", "64500:1", "--peer", "edge,core"}, api.AnnounceOrder{
			Prefix: host, NextHop: netip.MustParseAddr("192.0.2.253"), Communities: []uint32{0xFFFF029A, 0xFFFFFF01, 64500<<16 | 1}, Peers: []string{"edge", "core"},
		}, []string{"announced 192.0.2.1/32\n"}},
		{[]string{"bgp", "announce", "--rule", rule, "--peer", "edge"}, api.AnnounceOrder{Rule: rule, Peers: []string{"edge"}}, []string{"announced"}},
		{[]string{"bgp", "withdraw", "192.0.2.1"}, api.WithdrawOrder{Text: "192.0.2.1/32"}, []string{"withdrawn 192.0.2.1/32\n"}},
		{[]string{"bgp", "withdraw", rule}, api.WithdrawOrder{Text: rule}, []string{"withdrawn " + rule + "\n"}},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			f.asked = nil
			args := append(test.args, "--socket", socket)
			got := weir(t, commands{}, args...)
			if got.code != exitDone || got.err != "" || strings.Contains(got.out, "\x1b") {
				t.Errorf("%+v", got)
			}
			for _, want := range test.shown {
				if !strings.Contains(got.out, want) {
					t.Errorf("%q is not shown in\n%s", want, got.out)
				}
			}
			if diff := cmp.Diff(f.asked, test.asked, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("asked (-got +want)\n%s", diff)
			}
			asJSON := weir(t, commands{}, append(args, "--json")...)
			if asJSON.code != exitDone || !json.Valid([]byte(asJSON.out)) || strings.Count(asJSON.out, "\n") != 1 {
				t.Errorf("JSON: %+v", asJSON)
			}
		})
	}
}

// Scripts read the sessions from the status too.
func TestStatusTellsSessions(t *testing.T) {
	f := fake{bgp: routers()}
	_, socket := daemon(t, &f)
	var status struct {
		Bgp *struct {
			Speaker struct{ Restarts int }
			Peers   []struct{ Name, Session, Error string }
		}
	}
	got := weir(t, commands{}, "status", "--json", "--socket", socket)
	if err := json.Unmarshal([]byte(got.out), &status); err != nil || status.Bgp == nil || len(status.Bgp.Peers) != 3 {
		t.Fatalf("%v in %+v", err, got)
	}
	if p := status.Bgp.Peers[1]; status.Bgp.Speaker.Restarts != 2 || p.Name != "core" || p.Session != "active" || !strings.HasPrefix(p.Error, "the peer says") {
		t.Errorf("%+v", status.Bgp)
	}
	f.bgp.Speaker = api.BGPSpeaker{Error: "listen: address in use"}
	if got := weir(t, commands{}, "status", "--socket", socket); !strings.Contains(got.out, "bgp      speaker down: listen: address in use\n") {
		t.Errorf("speaker down: %+v", got)
	}
	f.bgp = api.BGPStatus{}
	if got := weir(t, commands{}, "status", "--socket", socket); got.code != exitDone || strings.Contains(got.out, "bgp") {
		t.Errorf("without BGP: %+v", got)
	}
	if got := weir(t, commands{}, "bgp", "peers", "--socket", socket); got.code != exitDone || got.out != "BGP is not configured\n" {
		t.Errorf("peers without BGP: %+v", got)
	}
	if got := weir(t, commands{}, "bgp", "routes", "--socket", socket); got.code != exitDone || got.out != "no routes\n" {
		t.Errorf("routes without BGP: %+v", got)
	}
}

func TestBGPRefused(t *testing.T) {
	f := fake{bgp: routers()}
	_, socket := daemon(t, &f)
	for _, test := range []struct{ line, message string }{
		{"announce 192.0.2.1 --action none", "weir: announce 192.0.2.1/32: no action none\n"},
		{"announce 192.0.2.1 --next-hop 2001:db8::1", `weir: next_hop "2001:db8::1": expected an IPv4 address, as 192.0.2.1/32 is` + "\n"},
		{"announce --rule nonsense", "weir: rule: "},
		{"withdraw 192.0.2.9", "weir: withdraw 192.0.2.9/32: not announced by hand\n"},
		{"routes --peer nobody", `weir: peer "nobody" is not in the configuration` + "\n"},
	} {
		if got := weir(t, commands{}, strings.Fields("bgp "+test.line+" --socket "+socket)...); got.code != exitFailed || !strings.HasPrefix(got.err, test.message) || got.out != "" {
			t.Errorf("%s: %+v, want %q", test.line, got, test.message)
		}
	}
}

func TestBGPUsage(t *testing.T) {
	for _, test := range []struct{ line, message string }{
		{"", "expected one of peers, routes, announce, withdraw"},
		{"nonsense", `unknown command "nonsense"`},
		{"peers extra", `unexpected argument "extra"`},
		{"routes --limit 0", "expected 1 to 10000"},
		{"announce", "missing argument PREFIX"},
		{"announce 192.0.2.1", "give --action NAME, or --next-hop ADDRESS"},
		{"announce 192.0.2.1 --rule x", `unexpected argument "192.0.2.1"`},
		{"announce --rule x --next-hop 192.0.2.2", "expected no --action and no --next-hop"},
		{"announce 192.0.2.1 --action rtbh --peer edge", "the action says them"},
		{"withdraw", "missing argument PREFIX|RULE|KEY"},
		{"withdraw 192.0.2.1 192.0.2.2", `unexpected argument "192.0.2.2"`},
	} {
		t.Run(test.line, func(t *testing.T) {
			got := weir(t, commands{}, strings.Fields("bgp "+test.line)...)
			if got.code != exitUsage || !strings.Contains(got.err, test.message) || !strings.Contains(got.err, "Try `weir bgp") || got.out != "" {
				t.Errorf("got %+v, want code 2 and %q", got, test.message)
			}
		})
	}
}
