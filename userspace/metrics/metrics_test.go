package metrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/tests/need"
	"weir/userspace/traffic"
)

func sample() Snapshot {
	counts := traffic.Counts{Total: traffic.Count{Packets: 100, Bytes: 64000}, Flows: 7, UDP: traffic.Count{Packets: 90, Bytes: 60000}}
	s := Snapshot{
		Hostgroups:         []GroupRate{{"default", traffic.TwoWay{Incoming: counts}}},
		Networks:           []NetworkRate{{netip.MustParsePrefix("2001:db8::/32"), traffic.TwoWay{Outgoing: counts}}},
		Hosts:              []HostRate{{netip.MustParsePrefix("192.0.2.1/32"), "default", traffic.Incoming, counts}},
		MitigationsRefused: map[string]uint64{"never_ban": 3},
		Interfaces:         []Interface{{"eth\xff0", "host", "native", true}},
		ConfigOK:           true, ConfigLoaded: time.Unix(1700000000, 5e8), Started: time.Unix(1700000000, 0), AttacksStarted: 4, WarmingUp: true,
	}
	s.BGP = []BGPPeer{
		{Name: "edge", Kind: "peer", Established: true, Ups: 2, Routes: map[string]int{"ipv4-unicast": 3}, Refused: map[string]int{"ipv6-flowspec": 4}, Sent: 5, Received: 6},
		{Name: "exabgp", Kind: "exabgp"},
	}
	s.BGPSpeakerUp, s.BGPSpeakerRestarts = true, 7
	s.Sinks = []Sink{{Name: "export.redis", Failures: 3, Sent: [SinkKindCount]uint64{1, 2, 0}, Lost: [SinkKindCount]uint64{0, 0, 9}}}
	s.Hooks = [3]uint64{10, 3, 2}
	s.Escalations, s.RulesInForce, s.RulesShadow = 4, 5, 2
	s.Captures, s.Flows = sampleCaptures(), sampleFlows()
	s.IPv6[traffic.Outgoing] = counts
	s.Reasons[traffic.ReasonARP] = traffic.Count{Packets: 5, Bytes: 300}
	s.Anomalies[traffic.AnomalyShortTransport] = 6
	s.Losses[LossNotify] = 2
	s.Attacks[traffic.PhaseMitigated] = 1
	return s
}

// scraped runs a server and returns what one GET of path answers.
func scraped(t *testing.T, snapshot func() Snapshot, method, path string) (int, string) {
	t.Helper()
	server, err := New(Options{Listen: "127.0.0.1:0", Build: Build{"1.2.3", "abc", "go1"}, Snapshot: snapshot, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.ObserveTick(3 * time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+server.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestScrape(t *testing.T) {
	code, body := scraped(t, sample, http.MethodGet, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("status %d: %s", code, body)
	}
	lines := strings.Split(body, "\n")
	for _, want := range []string{
		`weir_traffic_packets_total{direction="outgoing",family="ipv6"} 100`,
		`weir_traffic_packets_total{direction="incoming",family="ipv4"} 0`,
		`weir_traffic_flows_total{direction="outgoing",family="ipv6"} 7`,
		`weir_traffic_kind_bytes_total{direction="outgoing",family="ipv6",kind="udp"} 60000`,
		`weir_hostgroup_packets_per_second{direction="incoming",hostgroup="default"} 100`,
		`weir_network_bytes_per_second{direction="outgoing",network="2001:db8::/32"} 64000`,
		`weir_host_flows_per_second{direction="incoming",host="192.0.2.1",hostgroup="default"} 7`,
		`weir_attacks{phase="mitigated"} 1`,
		`weir_attacks_started_total 4`,
		`weir_mitigations_refused_total{reason="never_ban"} 3`,
		`weir_dataplane_bytes_total{reason="arp"} 300`,
		`weir_dataplane_anomalous_packets_total{anomaly="short_transport"} 6`,
		"weir_interface_attached{interface=\"eth\uFFFD0\",mode=\"native\",role=\"host\"} 1",
		`weir_bgp_speaker_up 1`,
		`weir_export_up{sink="export.redis"} 0`,
		`weir_export_failures_total{sink="export.redis"} 3`,
		`weir_export_sent_total{kind="attacks",sink="export.redis"} 2`,
		`weir_export_lost_total{kind="flows",sink="export.redis"} 9`,
		`weir_ladder_steps_total{way="up"} 4`,
		`weir_rules{mode="enforced"} 3`,
		`weir_hook_calls_total{outcome="answered"} 5`,
		`weir_bgp_speaker_restarts_total 7`,
		`weir_bgp_session_up{kind="peer",peer="edge"} 1`,
		`weir_bgp_session_up{kind="exabgp",peer="exabgp"} 0`,
		`weir_bgp_session_ups_total{kind="peer",peer="edge"} 2`,
		`weir_bgp_routes{family="ipv4-unicast",kind="peer",peer="edge"} 3`,
		`weir_bgp_routes_refused{family="ipv6-flowspec",kind="peer",peer="edge"} 4`,
		`weir_bgp_messages_total{direction="sent",kind="peer",peer="edge"} 5`,
		`weir_bgp_messages_total{direction="received",kind="peer",peer="edge"} 6`,
		`weir_losses_total{where="notify"} 2`,
		`weir_tick_duration_seconds_bucket{le="0.005"} 1`,
		`weir_tick_duration_seconds_bucket{le="0.0025"} 0`,
		`weir_config_last_reload_success_timestamp_seconds 1.7000000005e+09`,
		`weir_warming_up 1`,
		`weir_build_info{goversion="go1",revision="abc",version="1.2.3"} 1`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("missing line %s", want)
		}
	}
	if strings.Contains(body, `phase="over"`) || strings.Contains(body, `anomaly="none"`) {
		t.Error("attacks that are over, or packets without anomaly, are served")
	}
}

// Every metric of the catalog appears in an answer, and nothing of ours that is not in it.
func TestCatalogIsServed(t *testing.T) {
	_, body := scraped(t, sample, http.MethodGet, "/metrics")
	known := map[string]bool{tickName: true}
	for _, m := range catalog() {
		known[m.name] = true
		if !strings.Contains(body, "\n# TYPE "+m.name+" ") {
			t.Errorf("%s is not served", m.name)
		}
	}
	for line := range strings.Lines(body) {
		if name, ok := strings.CutPrefix(line, "# TYPE weir_"); ok && !known["weir_"+strings.Fields(name)[0]] {
			t.Errorf("%s is not in the catalog", name)
		}
	}
}

// What an attacker or a large configuration can multiply stays bounded, and the rest is counted.
func TestBounds(t *testing.T) {
	many := sample()
	for i := range 5000 {
		host := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
		many.Hosts = append(many.Hosts, HostRate{Host: host, Direction: traffic.Outgoing})
		many.Networks = append(many.Networks, NetworkRate{Prefix: host})
		many.Hostgroups = append(many.Hostgroups, GroupRate{Name: fmt.Sprint(i)})
		many.BGP = append(many.BGP, BGPPeer{Name: fmt.Sprint(i), Kind: "peer"})
		many.Captures = append(many.Captures, traffic.CaptureStats{Interface: fmt.Sprint(i)})
		many.Flows.Exporters = append(many.Flows.Exporters, Exporter{Address: host.Addr()})
	}
	_, body := scraped(t, func() Snapshot { return many }, http.MethodGet, "/metrics")
	for prefix, want := range map[string]int{
		"weir_host_packets_per_second{": MaxHosts + 1, "weir_network_packets_per_second{": 2 * MaxNetworks, "weir_hostgroup_packets_per_second{": 2 * MaxHostgroups,
		"weir_bgp_session_up{": MaxBGPPeers, "weir_capture_up{": MaxInterfaces, "weir_exporter_records_total{": MaxExporters,
	} {
		if got := strings.Count(body, "\n"+prefix); got != want {
			t.Errorf("%s: %d series, want %d", prefix, got, want)
		}
	}
	if want := fmt.Sprintf("weir_metrics_omitted_series{label=\"host\"} %d\n", 5000-MaxHosts); !strings.Contains(body, want) {
		t.Errorf("missing %s", want)
	}
}

// Nobody is alarmed by a speaker that nothing asks for.
func TestSpeakerWithoutPeers(t *testing.T) {
	s := sample()
	s.BGP, s.BGPSpeakerUp = s.BGP[1:], false
	if _, body := scraped(t, func() Snapshot { return s }, http.MethodGet, "/metrics"); strings.Contains(body, "weir_bgp_speaker") || !strings.Contains(body, "weir_bgp_session_up{") {
		t.Errorf("got %s", body)
	}
}

func TestOtherRequests(t *testing.T) {
	if code, _ := scraped(t, sample, http.MethodGet, "/"); code != http.StatusNotFound {
		t.Errorf("GET /: %d", code)
	}
	if code, _ := scraped(t, sample, http.MethodPost, "/metrics"); code != http.StatusMethodNotAllowed {
		t.Errorf("POST /metrics: %d", code)
	}
}

func TestAddressInUse(t *testing.T) {
	first, err := New(Options{Listen: "127.0.0.1:0", Snapshot: sample, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.Listen(t.Context()), first.Listen(t.Context())); err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := New(Options{Listen: first.Addr().String(), Snapshot: sample, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "prometheus.listen") {
		t.Errorf("got %v", err)
	}
}

func TestPromtool(t *testing.T) {
	promtool := need.Tool(t, "promtool", "prometheus")
	_, body := scraped(t, sample, http.MethodGet, "/metrics")
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(body)
	var said bytes.Buffer
	check.Stdout, check.Stderr = &said, &said
	if err := check.Run(); err != nil || said.Len() > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, said.String())
	}
}
