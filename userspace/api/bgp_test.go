package api

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"weir/userspace/api/weirpb"
	"weir/userspace/api/weirpb/weirpbconnect"
)

func sampleBGP() BGPStatus {
	return BGPStatus{
		Configured: true,
		Speaker:    BGPSpeaker{Up: true, PID: 42, Restarts: 1, Error: "killed"},
		Peers: []BGPPeer{{
			Name: "edge", Kind: "peer", Address: "192.0.2.254", AS: 4200000000, Session: "established", Since: morning, Error: "hold timer expired", ErrorAt: morning.Add(-time.Hour),
			RouterID: "10.0.0.1", Families: []string{"ipv6-unicast", "ipv4-unicast"}, Graceful: true, Sent: 5, Received: 6, Malformed: 1, Ups: 2,
			Routes: map[string]int{"ipv4-unicast": 3}, RefusedRoutes: map[string]int{"ipv4-flowspec": 4},
		}, {Name: "exabgp", Kind: "exabgp", Session: "waiting"}},
		Routes: []BGPRoute{
			{Family: "ipv4-unicast", Route: "192.0.2.1/32", Owner: "manual", Peers: []BGPRoutePeer{{Name: "edge", Since: morning}, {Name: "exabgp"}}},
			{Family: "ipv6-unicast", Route: "2001:db8::1/128", Owner: "A1", Error: "no next hop", Peers: []BGPRoutePeer{{Name: "exabgp", Error: "away"}}},
		},
		Refused: []BGPRefusal{
			{Owner: "A1", Action: "rtbh", Route: "192.0.2.2/32", Peer: "edge", Reason: "max_routes", Detail: "edge has 3 already"},
			{Owner: "A2", Route: "192.0.2.3/32", Reason: "never_ban"}, {Owner: "A3", Route: "192.0.2.4/32", Peer: "exabgp"},
		},
	}
}

func bgpClient(t *testing.T, backend Backend) (context.Context, weirpbconnect.WeirClient) {
	t.Helper()
	_, path := serve(t, backend)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	client, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	return ctx, client
}

func TestBGPPeers(t *testing.T) {
	var asked any
	backend := sampleBackend(&asked)
	configured := true
	backend.BGP = func(context.Context) (BGPStatus, error) {
		s := sampleBGP()
		s.Configured = configured
		return s, nil
	}
	ctx, client := bgpClient(t, backend)
	got, err := client.BgpPeers(ctx, connect.NewRequest(&weirpb.BgpPeersRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	want := &weirpb.BgpPeersResponse{Configured: true, Speaker: &weirpb.BgpSpeaker{Up: true, Pid: 42, Restarts: 1, Error: "killed"}, Peers: []*weirpb.BgpPeer{
		{
			Name: "edge", Kind: "peer", Address: "192.0.2.254", As: 4200000000, Session: "established", Since: timestamppb.New(morning),
			Error: "hold timer expired", ErrorAt: timestamppb.New(morning.Add(-time.Hour)), RouterId: "10.0.0.1", Families: []string{"ipv6-unicast", "ipv4-unicast"},
			GracefulRestart: true, Ups: 2, Sent: 5, Received: 6, Malformed: 1,
			Routes: []*weirpb.BgpFamilyRoutes{{Family: "ipv4-flowspec", Refused: 4}, {Family: "ipv4-unicast", Announced: 3}, {Family: "ipv6-unicast"}},
		},
		{Name: "exabgp", Kind: "exabgp", Session: "waiting"},
	}}
	if diff := cmp.Diff(got.Msg, want, protocmp.Transform()); diff != "" {
		t.Errorf("peers (-got +want)\n%s", diff)
	}
	status, err := client.Status(ctx, connect.NewRequest(&weirpb.StatusRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(status.Msg.GetBgp(), want, protocmp.Transform()); diff != "" {
		t.Errorf("peers in the status (-got +want)\n%s", diff)
	}
	configured = false
	if status, err = client.Status(ctx, connect.NewRequest(&weirpb.StatusRequest{})); err != nil || status.Msg.GetBgp() != nil {
		t.Errorf("status without BGP: %v, %v", status.Msg.GetBgp(), err)
	}
}

func TestBGPRoutes(t *testing.T) {
	var asked any
	ctx, client := bgpClient(t, sampleBackend(&asked))
	first := &weirpb.BgpRoute{Family: "ipv4-unicast", Route: "192.0.2.1/32", Owner: "manual", Peers: []*weirpb.BgpRoutePeer{{Name: "edge", Since: timestamppb.New(morning)}, {Name: "exabgp"}}}
	second := &weirpb.BgpRoute{Family: "ipv6-unicast", Route: "2001:db8::1/128", Owner: "A1", Error: "no next hop", Peers: []*weirpb.BgpRoutePeer{{Name: "exabgp", Error: "away"}}}
	refused := []*weirpb.BgpRefusal{
		{Owner: "A1", Action: "rtbh", Route: "192.0.2.2/32", Peer: "edge", Reason: "max_routes", Detail: "edge has 3 already"},
		{Owner: "A2", Route: "192.0.2.3/32", Reason: "never_ban"}, {Owner: "A3", Route: "192.0.2.4/32", Peer: "exabgp"},
	}
	for _, test := range []struct {
		name    string
		request *weirpb.BgpRoutesRequest
		want    *weirpb.BgpRoutesResponse
	}{
		{"all", &weirpb.BgpRoutesRequest{}, &weirpb.BgpRoutesResponse{Routes: []*weirpb.BgpRoute{first, second}, Total: 2, Refused: refused, RefusedTotal: 3}},
		{"limit", &weirpb.BgpRoutesRequest{Limit: 1}, &weirpb.BgpRoutesResponse{Routes: []*weirpb.BgpRoute{first}, Total: 2, Refused: refused[:1], RefusedTotal: 3}},
		{"peer", &weirpb.BgpRoutesRequest{Peer: "edge"}, &weirpb.BgpRoutesResponse{Routes: []*weirpb.BgpRoute{first}, Total: 1, Refused: refused[:2], RefusedTotal: 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := client.BgpRoutes(ctx, connect.NewRequest(test.request))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got.Msg, test.want, protocmp.Transform()); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

func TestBGPOrders(t *testing.T) {
	var asked any
	ctx, client := bgpClient(t, sampleBackend(&asked))
	host := netip.MustParsePrefix("192.0.2.1/32")
	announce := func(m *weirpb.BgpAnnounceRequest) ([]string, error) {
		got, err := client.BgpAnnounce(ctx, connect.NewRequest(m))
		if err != nil {
			return nil, err
		}
		return got.Msg.GetRoutes(), nil
	}
	withdraw := func(text string) func() ([]string, error) {
		return func() ([]string, error) {
			got, err := client.BgpWithdraw(ctx, connect.NewRequest(&weirpb.BgpWithdrawRequest{Route: text}))
			if err != nil {
				return nil, err
			}
			return got.Msg.GetRoutes(), nil
		}
	}
	announcing := func(m *weirpb.BgpAnnounceRequest) func() ([]string, error) {
		return func() ([]string, error) { return announce(m) }
	}
	const rule = "destination 192.0.2.1/32 protocol udp then discard"
	for _, test := range []struct {
		name   string
		call   func() ([]string, error)
		want   any
		routes []string
	}{
		{"by action", announcing(&weirpb.BgpAnnounceRequest{Prefix: "192.0.2.1", Action: "rtbh"}), AnnounceOrder{Action: "rtbh", Prefix: host}, []string{"192.0.2.1/32"}},
		{"spelled out", announcing(&weirpb.BgpAnnounceRequest{Prefix: "192.0.2.1/32", NextHop: "192.0.2.253", Communities: []string{"65535:666", "64500:7", "no-export"}, Peers: []string{"edge"}}),
			AnnounceOrder{Prefix: host, NextHop: netip.MustParseAddr("192.0.2.253"), Communities: []uint32{65535<<16 | 666, 64500<<16 | 7, 0xFFFFFF01}, Peers: []string{"edge"}}, []string{"192.0.2.1/32"}},
		{"rule", announcing(&weirpb.BgpAnnounceRequest{Rule: "protocol udp  destination 192.0.2.1/32 then discard", Peers: []string{"edge"}}), AnnounceOrder{Rule: rule, Peers: []string{"edge"}}, []string{"192.0.2.1/32"}},
		{"withdraw an address", withdraw("2001:DB8::1"), WithdrawOrder{Text: "2001:db8::1/128"}, []string{"2001:db8::1/128"}},
		{"withdraw a rule", withdraw("protocol udp destination 192.0.2.1/32 then discard"), WithdrawOrder{Text: rule}, []string{rule}},
		{"withdraw a key", withdraw("ipv4-unicast 192.0.2.1/32 to edge"), WithdrawOrder{Text: "ipv4-unicast 192.0.2.1/32 to edge"}, []string{"ipv4-unicast 192.0.2.1/32 to edge"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked = nil
			routes, err := test.call()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(routes, test.routes); diff != "" {
				t.Errorf("routes (-got +want)\n%s", diff)
			}
			if diff := cmp.Diff(asked, test.want, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("order (-got +want)\n%s", diff)
			}
		})
	}
}

func TestBGPRefusals(t *testing.T) {
	var asked any
	ctx, client := bgpClient(t, sampleBackend(&asked))
	announce := func(m *weirpb.BgpAnnounceRequest) error {
		_, err := client.BgpAnnounce(ctx, connect.NewRequest(m))
		return err
	}
	withdraw := func(text string) error {
		_, err := client.BgpWithdraw(ctx, connect.NewRequest(&weirpb.BgpWithdrawRequest{Route: text}))
		return err
	}
	routes := func(m *weirpb.BgpRoutesRequest) error {
		_, err := client.BgpRoutes(ctx, connect.NewRequest(m))
		return err
	}
	for _, test := range []struct {
		name, message string
		err           error
		code          connect.Code
	}{
		{"nothing", `prefix ""`, announce(&weirpb.BgpAnnounceRequest{}), connect.CodeInvalidArgument},
		{"host bits", "expected 192.0.2.0/24", announce(&weirpb.BgpAnnounceRequest{Prefix: "192.0.2.1/24", Action: "rtbh"}), connect.CodeInvalidArgument},
		{"how", "expected an action, or a next hop", announce(&weirpb.BgpAnnounceRequest{Prefix: "192.0.2.1"}), connect.CodeInvalidArgument},
		{"family of the next hop", "expected an IPv4 address", announce(&weirpb.BgpAnnounceRequest{Prefix: "192.0.2.1", NextHop: "2001:db8::1"}), connect.CodeInvalidArgument},
		{"next hop", "expected an IPv6 address", announce(&weirpb.BgpAnnounceRequest{Prefix: "2001:db8::1", NextHop: "router"}), connect.CodeInvalidArgument},
		{"no next hop", "next_hop", announce(&weirpb.BgpAnnounceRequest{Prefix: "192.0.2.1", NextHop: "0.0.0.0"}), connect.CodeInvalidArgument},
		{"community", `community "65536:1"`, announce(&weirpb.BgpAnnounceRequest{Prefix: "192.0.2.1", NextHop: "192.0.2.2", Communities: []string{"65536:1"}}), connect.CodeInvalidArgument},
		{"half a community", `community "666"`, announce(&weirpb.BgpAnnounceRequest{Prefix: "192.0.2.1", NextHop: "192.0.2.2", Communities: []string{"666"}}), connect.CodeInvalidArgument},
		{"communities", "at most 64", announce(&weirpb.BgpAnnounceRequest{Communities: make([]string, 65)}), connect.CodeInvalidArgument},
		{"empty peer", "one is empty", announce(&weirpb.BgpAnnounceRequest{Peers: []string{""}}), connect.CodeInvalidArgument},
		{"peers", "at most 256", announce(&weirpb.BgpAnnounceRequest{Peers: make([]string, 257)}), connect.CodeInvalidArgument},
		{"action and next hop", "the action itself says", announce(&weirpb.BgpAnnounceRequest{Prefix: "192.0.2.1", Action: "rtbh", NextHop: "192.0.2.2"}), connect.CodeInvalidArgument},
		{"rule", "rule:", announce(&weirpb.BgpAnnounceRequest{Rule: "drop it all"}), connect.CodeInvalidArgument},
		{"rule and prefix", "beside it", announce(&weirpb.BgpAnnounceRequest{Rule: "x", Prefix: "192.0.2.1"}), connect.CodeInvalidArgument},
		{"guard", "not wholly inside", announce(&weirpb.BgpAnnounceRequest{Prefix: "198.51.100.0/24", Action: "rtbh"}), connect.CodeFailedPrecondition},
		{"withdraw nothing", "expected a prefix", withdraw(" "), connect.CodeInvalidArgument},
		{"withdraw with host bits", "expected 192.0.2.0/24", withdraw("192.0.2.1/24"), connect.CodeInvalidArgument},
		{"withdraw what is not there", "not announced by hand", withdraw("192.0.2.9"), connect.CodeNotFound},
		{"routes of nobody", `peer "nobody"`, routes(&weirpb.BgpRoutesRequest{Peer: "nobody"}), connect.CodeNotFound},
		{"limit of routes", "at most 10000", routes(&weirpb.BgpRoutesRequest{Limit: 10001}), connect.CodeInvalidArgument},
	} {
		t.Run(test.name, func(t *testing.T) {
			if connect.CodeOf(test.err) != test.code || !strings.Contains(test.err.Error(), test.message) {
				t.Errorf("got %v, want %s with %q", test.err, test.code, test.message)
			}
		})
	}
}

// What the backend cannot answer is told, by each call that asks it.
func TestBGPFails(t *testing.T) {
	var asked any
	backend := sampleBackend(&asked)
	backend.BGP = func(context.Context) (BGPStatus, error) {
		return BGPStatus{}, Unavailable(errors.New("not started yet"))
	}
	ctx, client := bgpClient(t, backend)
	_, status := client.Status(ctx, connect.NewRequest(&weirpb.StatusRequest{}))
	_, peers := client.BgpPeers(ctx, connect.NewRequest(&weirpb.BgpPeersRequest{}))
	_, routes := client.BgpRoutes(ctx, connect.NewRequest(&weirpb.BgpRoutesRequest{}))
	for name, err := range map[string]error{"status": status, "peers": peers, "routes": routes} {
		if connect.CodeOf(err) != connect.CodeUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}
