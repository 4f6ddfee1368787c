package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"weir/userspace/api/weirpb"
	"weir/userspace/traffic"
)

// patience bounds a test that would otherwise hang; no test depends on its length.
const patience = 20 * time.Second

var morning = time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC)

func sampleAttack() traffic.Record {
	return traffic.Record{
		Attack: traffic.Attack{
			ID:     "20260304-1",
			Target: traffic.Target{Scope: traffic.ScopeHost, Prefix: netip.MustParsePrefix("192.0.2.1/32"), Group: "default", Direction: traffic.Incoming},
			Trip:   traffic.Trip{Metric: traffic.UDPBPS, Count: 5, Window: time.Second, Value: 3e9, Limit: 1e9},
			Phase:  traffic.PhaseMitigated, Started: morning, Detected: morning.Add(time.Second), Hosts: 1,
			Volume: traffic.Counts{Dropped: traffic.Count{Packets: 7, Bytes: 420}},
		},
		Held: "the kill switch is on",
	}
}

func sampleBan() traffic.Record {
	r := sampleAttack()
	r.Attack.Target.Direction = traffic.Outgoing
	r.Ban = traffic.Ban{Since: morning, Until: morning.Add(time.Hour), Reason: "by hand", Manual: true, Drop: true}
	return r
}

// sampleBackend answers everything; what it was asked is kept in asked.
func sampleBackend(asked *any) Backend {
	return Backend{
		Status: func(context.Context) (Status, error) {
			return Status{Version: "1.2.3", Started: morning, Interfaces: []Interface{{Name: "eth0", Role: "host", Mode: "generic", Why: "driver has no XDP"}}}, nil
		},
		Hosts: func(_ context.Context, q HostQuery) ([]HostRate, error) {
			*asked = q
			if q.Group == "nobody" {
				return nil, NotFound(errors.New(`hostgroup "nobody" does not exist`))
			}
			return []HostRate{{Host: netip.MustParsePrefix("2001:db8::/64"), Group: "default", Direction: traffic.Outgoing,
				Rate: traffic.Counts{Total: traffic.Count{Packets: 9, Bytes: 900}}, Banned: true}}, nil
		},
		Attacks: func(_ context.Context, q AttackQuery) ([]traffic.Record, error) {
			*asked = q
			if q.ID == "none" {
				return nil, NotFound(errors.New("no attack has the id none"))
			}
			return []traffic.Record{sampleAttack()}, nil
		},
		Bans: func(context.Context) ([]traffic.Record, error) { return []traffic.Record{sampleBan()}, nil },
		Ban: func(_ context.Context, o BanOrder) ([]traffic.Record, error) {
			*asked = o
			if o.Target == netip.MustParsePrefix("192.0.2.9/32") {
				return nil, Refused(errors.New("ban 192.0.2.9: on the never-ban list"))
			}
			return []traffic.Record{sampleBan()}, nil
		},
		Unban: func(_ context.Context, o UnbanOrder) ([]traffic.Record, error) {
			*asked = o
			return nil, NotFound(errors.New("unban: not banned"))
		},
		Reload: func(context.Context) (time.Time, error) {
			return time.Time{}, Unavailable(errors.New("not started yet"))
		},
		BGP: func(context.Context) (BGPStatus, error) { return sampleBGP(), nil },
		Announce: func(_ context.Context, o AnnounceOrder) ([]string, error) {
			*asked = o
			if o.Prefix == netip.MustParsePrefix("198.51.100.0/24") {
				return nil, Refused(errors.New("announce 198.51.100.0/24: not wholly inside our networks"))
			}
			return []string{"192.0.2.1/32"}, nil
		},
		Withdraw: func(_ context.Context, o WithdrawOrder) ([]string, error) {
			*asked = o
			if o.Text == "192.0.2.9/32" {
				return nil, NotFound(errors.New("withdraw 192.0.2.9/32: not announced by hand"))
			}
			return []string{o.Text}, nil
		},
	}
}

// shortDir is a folder whose name leaves room for a socket's (108 bytes with all).
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// serve runs a server until the test ends.
func serve(t *testing.T, backend Backend) (*Server, string) {
	t.Helper()
	path := filepath.Join(shortDir(t), "weir.sock")
	server, err := New(Options{Socket: path, Backend: backend, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return server, path
}

func TestProtocols(t *testing.T) {
	var asked any
	_, path := serve(t, sampleBackend(&asked))
	for name, options := range map[string][]connect.ClientOption{
		"connect": nil, "grpc": {connect.WithGRPC()}, "grpc-web": {connect.WithGRPCWeb()}, "json": {connect.WithProtoJSON()},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			client, err := Dial(ctx, path, options...)
			if err != nil {
				t.Fatal(err)
			}
			got, err := client.Ban(ctx, connect.NewRequest(&weirpb.BanRequest{
				Target: "::ffff:192.0.2.1", Direction: weirpb.Direction_DIRECTION_OUTGOING, Period: durationpb.New(time.Minute), Reason: "by hand",
			}))
			if err != nil {
				t.Fatal(err)
			}
			order := BanOrder{Target: netip.MustParsePrefix("192.0.2.1/32"), Directions: []traffic.Direction{traffic.Outgoing}, For: time.Minute, Reason: "by hand"}
			if diff := cmp.Diff(asked, any(order), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("order (-got +want)\n%s", diff)
			}
			want := &weirpb.BanResponse{Bans: []*weirpb.BanEntry{{
				Target: "192.0.2.1", Hostgroup: "default", AttackId: "20260304-1", Direction: weirpb.Direction_DIRECTION_OUTGOING, Since: timestamppb.New(morning), Until: timestamppb.New(morning.Add(time.Hour)),
				Reason: "by hand", Manual: true, Dropping: true, Dropped: &weirpb.Count{Packets: 7, Bytes: 420},
			}}}
			if diff := cmp.Diff(got.Msg, want, protocmp.Transform()); diff != "" {
				t.Errorf("answer (-got +want)\n%s", diff)
			}
			stream, err := client.WatchAttacks(ctx, connect.NewRequest(&weirpb.WatchAttacksRequest{}))
			if err != nil {
				t.Fatal(err)
			}
			if !stream.Receive() || stream.Msg().GetAttack() != nil {
				t.Fatalf("first message: %v, %v", stream.Msg(), stream.Err())
			}
			if !stream.Receive() || stream.Msg().GetAttack().GetValue() != 3000 || stream.Msg().GetAttack().GetThreshold() != 1000 {
				t.Fatalf("active attack, in Mbit/s: %v, %v", stream.Msg(), stream.Err())
			}
			if err := stream.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// unixClient speaks HTTP/1.1, as curl --unix-socket does.
func unixClient(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
}

func TestPlainJSON(t *testing.T) {
	var asked any
	_, path := serve(t, sampleBackend(&asked))
	client := unixClient(path)
	defer client.CloseIdleConnections()
	post := func(procedure, body string) (int, map[string]any) {
		t.Helper()
		res, err := client.Post("http://weir/weir.v1.Weir/"+procedure, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		var out map[string]any
		if err := json.Unmarshal(raw, &out); err != nil {
			t.Fatalf("%s: %v in %q", procedure, err, raw)
		}
		return res.StatusCode, out
	}
	code, hosts := post("Hosts", `{"direction":"DIRECTION_OUTGOING","order_by":"METRIC_FLOWS","prefix":"2001:db8::/32","banned_only":true}`)
	if code != http.StatusOK {
		t.Fatalf("status %d: %v", code, hosts)
	}
	want := HostQuery{Directions: []traffic.Direction{traffic.Outgoing}, OrderBy: traffic.FPS, Limit: defaultHosts, Within: netip.MustParsePrefix("2001:db8::/32"), BannedOnly: true}
	if diff := cmp.Diff(asked, any(want), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("query (-got +want)\n%s", diff)
	}
	if host := hosts["hosts"].([]any)[0].(map[string]any)["host"]; host != "2001:db8::/64" {
		t.Errorf("host %v", host)
	}
	for _, bad := range []string{`{"target":`, `{"targe":"192.0.2.1"}`, `{"target":5}`} {
		if code, out := post("Ban", bad); code != http.StatusBadRequest || out["code"] != "invalid_argument" {
			t.Errorf("%s: status %d, %v", bad, code, out)
		}
	}
	if code, out := post("Ban", `{"reason":"`+strings.Repeat("x", maxRequest)+`"}`); code != http.StatusTooManyRequests || out["code"] != "resource_exhausted" {
		t.Errorf("request too large: status %d, %v", code, out)
	}
}

func TestRefusals(t *testing.T) {
	var asked any
	_, path := serve(t, sampleBackend(&asked))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client, err := Dial(ctx, path, connect.WithGRPC())
	if err != nil {
		t.Fatal(err)
	}
	hosts := func(m *weirpb.HostsRequest) error { _, err := client.Hosts(ctx, connect.NewRequest(m)); return err }
	attacks := func(m *weirpb.AttacksRequest) error {
		_, err := client.Attacks(ctx, connect.NewRequest(m))
		return err
	}
	ban := func(m *weirpb.BanRequest) error { _, err := client.Ban(ctx, connect.NewRequest(m)); return err }
	unban := func(m *weirpb.UnbanRequest) error {
		_, err := client.Unban(ctx, connect.NewRequest(m))
		return err
	}
	reload := func() error {
		_, err := client.Reload(ctx, connect.NewRequest(&weirpb.ReloadRequest{}))
		return err
	}
	for _, test := range []struct {
		name, message string
		err           error
		code          connect.Code
	}{
		{"direction of hosts", "expected incoming, outgoing", hosts(&weirpb.HostsRequest{Direction: weirpb.Direction_DIRECTION_INTERNAL}), connect.CodeInvalidArgument},
		{"metric", "order_by 77", hosts(&weirpb.HostsRequest{OrderBy: 77}), connect.CodeInvalidArgument},
		{"negative metric", "order_by -1", hosts(&weirpb.HostsRequest{OrderBy: -1}), connect.CodeInvalidArgument},
		{"limit", "at most 10000", hosts(&weirpb.HostsRequest{Limit: 10001}), connect.CodeInvalidArgument},
		{"prefix", `prefix "nonsense"`, hosts(&weirpb.HostsRequest{Prefix: "nonsense"}), connect.CodeInvalidArgument},
		{"host bits", "expected 192.0.2.0/24", hosts(&weirpb.HostsRequest{Prefix: "192.0.2.1/24"}), connect.CodeInvalidArgument},
		{"hostgroup", `hostgroup "nobody"`, hosts(&weirpb.HostsRequest{Hostgroup: "nobody"}), connect.CodeNotFound},
		{"attack", "no attack has the id", attacks(&weirpb.AttacksRequest{Id: "none"}), connect.CodeNotFound},
		{"limit of attacks", "at most 10000", attacks(&weirpb.AttacksRequest{Limit: 1 << 30}), connect.CodeInvalidArgument},
		{"since", "since:", attacks(&weirpb.AttacksRequest{Since: &timestamppb.Timestamp{Nanos: -1}}), connect.CodeInvalidArgument},
		{"no address", `target ""`, ban(&weirpb.BanRequest{}), connect.CodeInvalidArgument},
		{"zone", "expected an address or a prefix", ban(&weirpb.BanRequest{Target: "fe80::1%eth0"}), connect.CodeInvalidArgument},
		{"host bits in a ban", "expected 192.0.2.0/24", ban(&weirpb.BanRequest{Target: "192.0.2.7/24"}), connect.CodeInvalidArgument},
		{"no period", "expected 1s to", ban(&weirpb.BanRequest{Target: "192.0.2.1", Period: &durationpb.Duration{}}), connect.CodeInvalidArgument},
		{"long period", "expected 1s to", ban(&weirpb.BanRequest{Target: "192.0.2.1", Period: durationpb.New(longestBan + 1)}), connect.CodeInvalidArgument},
		{"broken period", "period:", ban(&weirpb.BanRequest{Target: "192.0.2.1", Period: &durationpb.Duration{Seconds: 1, Nanos: -1}}), connect.CodeInvalidArgument},
		{"long reason", "at most 200", ban(&weirpb.BanRequest{Target: "192.0.2.1", Reason: strings.Repeat("ü", 201)}), connect.CodeInvalidArgument},
		{"reason that moves the cursor", "control characters", ban(&weirpb.BanRequest{Target: "192.0.2.1", Reason: "\x1b[2J"}), connect.CodeInvalidArgument},
		{"direction of a ban", "direction", ban(&weirpb.BanRequest{Target: "192.0.2.1", Direction: 9}), connect.CodeInvalidArgument},
		{"guard", "never-ban list", ban(&weirpb.BanRequest{Target: "192.0.2.9"}), connect.CodeFailedPrecondition},
		{"unban of nonsense", `target "x"`, unban(&weirpb.UnbanRequest{Target: "x"}), connect.CodeInvalidArgument},
		{"unban of two things", "not both", unban(&weirpb.UnbanRequest{Target: "192.0.2.1", Hostgroup: "web"}), connect.CodeInvalidArgument},
		{"unban of a free host", "not banned", unban(&weirpb.UnbanRequest{Target: "192.0.2.1"}), connect.CodeNotFound},
		{"reload", "not started yet", reload(), connect.CodeUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			if connect.CodeOf(test.err) != test.code || !strings.Contains(test.err.Error(), test.message) {
				t.Errorf("got %v, want %s with %q", test.err, test.code, test.message)
			}
		})
	}
}

func TestPanicIsAnswered(t *testing.T) {
	var asked any
	backend := sampleBackend(&asked)
	backend.Bans = func(context.Context) ([]traffic.Record, error) { panic("defect") }
	_, path := serve(t, backend)
	client, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = client.Bans(t.Context(), connect.NewRequest(&weirpb.BansRequest{})); connect.CodeOf(err) != connect.CodeInternal || strings.Contains(err.Error(), "defect") {
		t.Errorf("got %v", err)
	}
	if _, err = client.Status(t.Context(), connect.NewRequest(&weirpb.StatusRequest{})); err != nil {
		t.Errorf("call after the panic: %v", err)
	}
}

func TestIncompleteBackend(t *testing.T) {
	var asked any
	backend := sampleBackend(&asked)
	backend.Unban = nil
	if _, err := New(Options{Backend: backend, Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "no Unban") {
		t.Errorf("got %v", err)
	}
}
