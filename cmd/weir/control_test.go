package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/api"
	"weir/userspace/traffic"
)

func dawn() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

func flood() traffic.Record {
	return traffic.Record{
		Attack: traffic.Attack{
			ID:     "20260304-1",
			Target: traffic.Target{Scope: traffic.ScopeHost, Prefix: netip.MustParsePrefix("192.0.2.1/32"), Group: "default", Direction: traffic.Incoming},
			Trip:   traffic.Trip{Metric: traffic.BPS, Value: 3e9, Limit: 1e9, Window: time.Second},
			Phase:  traffic.PhaseMitigated, Started: dawn(), Detected: dawn(), Hosts: 1,
		},
		Ban: traffic.Ban{Since: dawn(), Until: dawn().Add(time.Hour), Drop: true, Reason: "\x1b[31mred"},
	}
}

// fake is a daemon that answers as told and remembers what it was asked.
type fake struct {
	asked any
	bgp   api.BGPStatus

	exporters api.ExporterStatus
	flows     *api.FlowCollector
	captures  []api.Interface // further ones
}

func (f *fake) backend() api.Backend {
	counts := traffic.Counts{Total: traffic.Count{Packets: 1234567, Bytes: 1 << 30}, Flows: 42}
	return api.Backend{
		Status: func(context.Context) (api.Status, error) {
			s := api.Status{
				Version: "1.2.3", Started: dawn(), Now: dawn().Add(time.Hour), ConfigPath: "/etc/weir/weir.yaml", DryRun: true, AttacksActive: 1, BansActive: 2,
				Interfaces: []api.Interface{
					{Name: "eth0", Role: "wire", Pair: "eth1", Mode: "generic", Why: "the driver has no native XDP", Attached: true},
					{Name: "eth7", Role: "host", Mode: "none", Why: "no such interface"},
				},
				Losses: []api.Tally{{Name: "samples", Count: 17}, {Name: "store", Count: 0}},
			}
			s.Flows, s.Interfaces = f.flows, append(s.Interfaces, f.captures...)
			s.Directions[traffic.Incoming] = api.DirectionTotal{Total: counts, Rate: counts}
			return s, nil
		},
		Hosts: func(_ context.Context, q api.HostQuery) ([]api.HostRate, error) {
			f.asked = q
			return []api.HostRate{{Host: netip.MustParsePrefix("192.0.2.1/32"), Group: "default", Rate: counts, Banned: true}}, nil
		},
		Attacks: func(_ context.Context, q api.AttackQuery) ([]traffic.Record, error) {
			f.asked = q
			return []traffic.Record{flood()}, nil
		},
		Bans: func(context.Context) ([]traffic.Record, error) { return []traffic.Record{flood()}, nil },
		Ban: func(_ context.Context, o api.BanOrder) ([]traffic.Record, error) {
			f.asked = o
			if o.Target.Addr() == netip.MustParseAddr("192.0.2.9") {
				return nil, api.Refused(errors.New("ban 192.0.2.9: on the never-ban list"))
			}
			return []traffic.Record{flood()}, nil
		},
		Unban: func(_ context.Context, o api.UnbanOrder) ([]traffic.Record, error) {
			f.asked = o
			return []traffic.Record{flood()}, nil
		},
		Reload:   func(context.Context) (time.Time, error) { return dawn(), nil },
		BGP:      func(context.Context) (api.BGPStatus, error) { return f.bgp, nil },
		Announce: f.announce,
		Withdraw: f.withdraw,

		Exporters: func(context.Context) (api.ExporterStatus, error) { return f.exporters, nil },
	}
}

// daemon serves the fake until the test ends.
func daemon(t *testing.T, f *fake) (*api.Server, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir") // t.TempDir is too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "weir.sock")
	server, err := api.New(api.Options{Socket: path, Backend: f.backend(), Log: slog.New(slog.DiscardHandler)})
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
		if err := errors.Join(<-done, os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return server, path
}

func TestControlCommands(t *testing.T) {
	var f fake
	_, socket := daemon(t, &f)
	both := []traffic.Direction{traffic.Incoming, traffic.Outgoing}
	host := netip.MustParsePrefix("192.0.2.1/32")
	for _, test := range []struct {
		line  string
		asked any
		shown []string // in the output for people
	}{
		{"status", nil, []string{"weir 1.2.3, up 1h0m0s", "dry run", "wire to eth1", "generic", "the driver has no native XDP", "not attached", "1.23M", "8.59G", "1 active", "samples 17\n"}},
		{"hosts", api.HostQuery{Directions: both, Limit: 20}, []string{"192.0.2.1", "incoming", "1.23M", "banned"}},
		{"hosts --direction outgoing --order-by tcp_syn_mbps --limit 5 --prefix 192.0.2.0/24 --hostgroup web --banned", api.HostQuery{
			Directions: both[1:], OrderBy: traffic.TCPSYNBPS, Limit: 5, Within: netip.MustParsePrefix("192.0.2.0/24"), Group: "web", BannedOnly: true,
		}, []string{"192.0.2.1"}},
		{"attacks", api.AttackQuery{Limit: 100}, []string{"20260304-1", "192.0.2.1", "mitigated", "3.00Gbit/s", "1.00Gbit/s"}},
		{"attacks --active --id X --limit 1", api.AttackQuery{ID: "X", ActiveOnly: true, Limit: 1}, []string{"20260304-1"}},
		{"bans", nil, []string{"192.0.2.1", "automatic", "drop", "?[31mred"}},
		{"ban 192.0.2.1", api.BanOrder{Target: host, Directions: both}, []string{"192.0.2.1"}},
		{"ban 192.0.2.1 --direction incoming --for 30m --reason why", api.BanOrder{Target: host, Directions: both[:1], For: 30 * time.Minute, Reason: "why"}, []string{"192.0.2.1"}},
		{"unban 192.0.2.1", api.UnbanOrder{Target: host}, []string{"192.0.2.1"}},
		{"unban --hostgroup web", api.UnbanOrder{Group: "web"}, []string{"192.0.2.1"}},
	} {
		t.Run(test.line, func(t *testing.T) {
			f.asked = nil
			line := append(strings.Fields(test.line), "--socket", socket)
			got := weir(t, commands{}, line...)
			if got.code != exitDone || got.err != "" || strings.Contains(got.out, "\x1b") {
				t.Errorf("%+v", got)
			}
			for _, want := range test.shown {
				if !strings.Contains(got.out, want) {
					t.Errorf("%q is not shown in\n%s", want, got.out)
				}
			}
			if diff := cmp.Diff(f.asked, test.asked, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("asked (-got +want)\n%s", diff)
			}
			asJSON := weir(t, commands{}, append(line, "--json")...)
			if asJSON.code != exitDone || !json.Valid([]byte(asJSON.out)) || strings.Count(asJSON.out, "\n") != 1 {
				t.Errorf("JSON: %+v", asJSON)
			}
		})
	}
}

func TestControlRefused(t *testing.T) {
	var f fake
	_, socket := daemon(t, &f)
	for _, test := range []struct{ line, message string }{
		{"ban 192.0.2.9 --socket " + socket, "weir: ban 192.0.2.9: on the never-ban list\n"},
		{"ban nonsense --socket " + socket, `weir: target "nonsense": expected an address or a prefix such as 192.0.2.0/24` + "\n"},
		{"hosts --prefix 192.0.2.1/24 --socket " + socket, `weir: prefix "192.0.2.1/24": host bits are set; expected 192.0.2.0/24` + "\n"},
		{"ban 192.0.2.1 --for 1ms --socket " + socket, "weir: period 1ms: expected 1s to 8784h0m0s\n"},
		{"status --socket " + socket + ".none", "weir: connect to " + socket + ".none: no such file; is `weir run` running? use --socket\n"},
	} {
		if got := weir(t, commands{}, strings.Fields(test.line)...); got.code != exitFailed || got.err != test.message || got.out != "" {
			t.Errorf("%s: %+v, want %q", test.line, got, test.message)
		}
	}
}

// lineWriter hands every line on as it is written.
type lineWriter chan string

func (w lineWriter) Write(b []byte) (int, error) { w <- string(b); return len(b), nil }

func TestWatch(t *testing.T) {
	var f fake
	server, socket := daemon(t, &f)
	ctx, interrupt := context.WithCancel(t.Context())
	out, done := make(lineWriter), make(chan int, 1)
	var said bytes.Buffer
	go func() {
		done <- execute(ctx, []string{"weir", "attacks", "--watch", "--json", "--socket", socket}, commands{}, terminal{out: out, err: &said})
	}()
	read := func(phase string) {
		t.Helper()
		var m struct{ Attack struct{ Phase string } }
		select {
		case line := <-out:
			if err := json.Unmarshal([]byte(line), &m); err != nil || m.Attack.Phase != phase {
				t.Errorf("%s: %v, want phase %s", line, err, phase)
			}
		case code := <-done:
			t.Fatalf("ended with %d: %s", code, said.String())
		}
	}
	read("mitigated") // what was active before
	over := flood()
	over.Attack.Phase = traffic.PhaseOver
	server.Publish(over)
	read("over")
	interrupt()
	if code := <-done; code != exitDone {
		t.Errorf("interrupted: code %d, %s", code, said.String())
	}
}

func TestTableAligns(t *testing.T) {
	var out bytes.Buffer
	term := terminal{out: &out, err: io.Discard, colour: true}
	if err := term.table([]string{"NAME", "N", "TEXT"}, [][]cell{{text("ü").in(bad), number("5"), text("a\nb")}, {text("longer"), number("1000"), text("")}}); err != nil {
		t.Fatal(err)
	}
	want := "\x1b[1mNAME\x1b[0m       \x1b[1mN\x1b[0m  \x1b[1mTEXT\x1b[0m\n\x1b[31mü\x1b[0m          5  a?b\nlonger  1000  -\n"
	if diff := cmp.Diff(out.String(), want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

func TestUnits(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 950: "950", 999.4: "999", 999.6: "1.00k", 1000: "1.00k", 9994: "9.99k", 9996: "10.0k", 123456: "123k", 999600: "1.00M", 1.5e9: "1.50G", 2e12: "2.00T", 3e15: "3P"} {
		if got := si(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
