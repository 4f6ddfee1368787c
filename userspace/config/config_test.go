package config

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/userspace/traffic"
)

var (
	compareNet = cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}, netip.AddrPort{})
	noWarnings = cmpopts.IgnoreFields(Config{}, "Warnings")
)

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("weir.yaml", []byte(text), readTestdata)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// TestDefaults: whatever says nothing is the default configuration.
func TestDefaults(t *testing.T) {
	for name, text := range map[string]string{
		"empty":      "",
		"comments":   "# nothing\n",
		"marker":     "---\n",
		"byte order": "\ufeff# nothing\n",
		"null":       "null\n",
		"sections":   "interfaces:\nnetworks:\nhostgroups:\n  default:\nnever_ban:\ndetection:\nmitigation:\nbgp:\nflows:\n  filters:\ntunnels:\nrecorder:\nnotify:\n  script:\nsampling:\nmemory:\napi:\nprometheus:\nstore:\nlog:\npin:\n",
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(mustParse(t, text), Default(), noWarnings, compareNet); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

// TestValues sets every value to something that is not its default.
func TestValues(t *testing.T) {
	got := mustParse(t, `
interfaces:
  - {name: eth0, mode: native, egress: yes}
  - {name: eth1, mode: generic, role: wire, pair: eth2}
  - {name: eth2, role: wire, pair: eth1}
  - {name: eth3, role: mirror}
networks: {prefixes: [198.51.100.7, 192.0.2.0/24, 192.0.2.0/24], files: [lists/good.txt], local_addresses: true, openvz: on}
hostgroups:
  default:
    networks: [192.0.2.64/26]
    enabled: {outgoing: false}
    thresholds: {pps: 1_000.5k, mbps: 0.5, incoming: {flows: 3.5k, pps: 2M}}
    prefix_thresholds: {outgoing: {udp_mbps: 10}}
    total_thresholds: {fragments_pps: 7}
    window: 1m
    average: ewma 5s
    clear: 75%
    quiet: 1m30s
    actions: []
    ban_time: 1d12h
never_ban: {prefixes: ["2001:db8::1"], files: [lists/good.txt]}
detection: {warm_up: 0, max_watched: 1k, confidence: 99%}
mitigation: {enabled: false, dry_run: true, kill_switch: true, kill_switch_file: stop, max_active: 1, max_per_minute: 2, expiry: 1h}
bgp:
  router_id: 192.0.2.9
  as: 1.10
  on_stop: keep
  max_routes: 7
  graceful_restart: {enabled: false, time: 1m}
  aggregate: {over: 5, ipv4: 25, ipv6: 64}
  exabgp: {pipe: exabgp.in, families: [ipv4-unicast, ipv6-flowspec]}
notify: {script: {path: /bin/notify, timeout: 100ms, concurrency: 1, queue: 2, details: false}}
sampling: {rate: off, suspect_rate: 1}
memory: {cells: 1.5GiB}
api: {socket: run/weir.sock, group: ""}
prometheus: {listen: off, top_hosts: 0}
store: {path: ../weir.db}
log: {level: debug, format: json}
pin: {path: /sys/fs/bpf/other, on_stop: keep}
`)
	list := prefixes("192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32")
	want := &Config{
		Interfaces: []Interface{
			{Name: "eth0", Engine: EngineXDP, Mode: ModeNative, Role: RoleHost, Egress: true},
			{Name: "eth1", Engine: EngineXDP, Mode: ModeGeneric, Role: RoleWire, Pair: "eth2"},
			{Name: "eth2", Engine: EngineXDP, Mode: ModeAuto, Role: RoleWire, Pair: "eth1"},
			{Name: "eth3", Engine: EngineXDP, Mode: ModeAuto, Role: RoleMirror},
		},
		Networks: Networks{Prefixes: list, LocalAddresses: true, OpenVZ: true},
		Hostgroups: []Hostgroup{{
			Name:     "default",
			Networks: prefixes("192.0.2.64/26"),
			Enabled:  [2]bool{true, false},
			Host: [2]traffic.Limits{
				{traffic.PPS: 2e6, traffic.BPS: 5e5, traffic.FPS: 3500},
				{traffic.PPS: 1000500, traffic.BPS: 5e5},
			},
			Prefix:  [2]traffic.Limits{traffic.Outgoing: {traffic.UDPBPS: 1e7}},
			Total:   [2]traffic.Limits{{traffic.FragmentsPPS: 7}, {traffic.FragmentsPPS: 7}},
			Window:  time.Minute,
			Average: 5 * time.Second,
			Clear:   0.75,
			Quiet:   90 * time.Second,
			BanTime: 36 * time.Hour,
		}},
		NeverBan:  prefixes("192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32", "2001:db8::1/128"),
		Detection: Detection{MaxWatched: 1000, Confidence: 0.99},
		BGP: BGP{
			RouterID:        netip.MustParseAddr("192.0.2.9"),
			AS:              65546,
			OnStop:          BGPKeep,
			GracefulRestart: BGPGracefulRestart{Time: time.Minute},
			Aggregate:       BGPAggregate{Over: 5, IPv4: 25, IPv6: 64},
			ExaBGP:          BGPExaBGP{Pipe: "exabgp.in", Families: map[BGPFamily]int{BGPUnicast4: 7, BGPFlowSpec6: 7}},
		},
		Flows:   flowsOf("../templates"),
		Tunnels: Default().Tunnels,
		Hooks:   Default().Hooks,
		Mitigation: Mitigation{
			DryRun: true, KillSwitch: true, KillSwitchFile: "stop", MaxActive: 1, MaxPerMinute: 2, Expiry: time.Hour,
			Probe: Default().Mitigation.Probe, Tolerance: 0.2,
		},
		Notify:     Notify{Script: Script{Path: "/bin/notify", Timeout: 100 * time.Millisecond, Concurrency: 1, Queue: 2}},
		Sampling:   Sampling{SuspectRate: 1},
		Memory:     Memory{Cells: 3 << 29},
		API:        API{Socket: "run/weir.sock"},
		Prometheus: Prometheus{},
		Store:      Store{Path: "../weir.db"},
		Recorder:   Recorder{Path: "../attacks", Attacks: 1000, Size: 1 << 30, Age: 90 * 24 * time.Hour, FileSize: 16 << 20, Ring: 8 << 20},
		Log:        Log{Level: slog.LevelDebug, Format: FormatJSON},
		Pin:        Pin{Path: "/sys/fs/bpf/other", OnStop: OnStopKeep},
		ListFiles:  []string{"lists/good.txt"},
	}
	if diff := cmp.Diff(got, want, noWarnings, compareNet); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

// TestInheritance: a group is the default group with single values overridden, wherever the default group stands.
func TestInheritance(t *testing.T) {
	base := mustParse(t, `
hostgroups:
  default:
    networks: [192.0.2.128/25]
    thresholds: {pps: 100, mbps: 8, incoming: {tcp_syn_pps: 10}}
    prefix_thresholds: {pps: 1000}
    total_thresholds: {outgoing: {flows: 5}}
    average: ewma 5s
    actions: [drop]
networks: {prefixes: [192.0.2.0/24]}
`).Hostgroups[0]
	tests := map[string]struct {
		group string
		want  func(*Hostgroup)
	}{
		"nothing":             {"{}", func(*Hostgroup) {}},
		"no value":            {"", func(*Hostgroup) {}},
		"empty sections":      {"{thresholds: , prefix_thresholds: {incoming: , outgoing: {}}}", func(*Hostgroup) {}},
		"networks":            {"{networks: [192.0.2.0/25]}", func(g *Hostgroup) { g.Networks = prefixes("192.0.2.0/25") }},
		"both directions":     {"{thresholds: {pps: 7}}", func(g *Hostgroup) { g.Host[0][traffic.PPS], g.Host[1][traffic.PPS] = 7, 7 }},
		"one direction":       {"{thresholds: {outgoing: {pps: 7}}}", func(g *Hostgroup) { g.Host[1][traffic.PPS] = 7 }},
		"both, then one":      {"{thresholds: {incoming: {pps: 9}, pps: 7}}", func(g *Hostgroup) { g.Host[0][traffic.PPS], g.Host[1][traffic.PPS] = 9, 7 }},
		"off":                 {"{thresholds: {tcp_syn_pps: off}}", func(g *Hostgroup) { g.Host[0][traffic.TCPSYNPPS] = 0 }},
		"zero":                {"{thresholds: {incoming: {mbps: 0}}}", func(g *Hostgroup) { g.Host[0][traffic.BPS] = 0 }},
		"prefix thresholds":   {"{prefix_thresholds: {incoming: {pps: off, udp_mbps: 1}}}", func(g *Hostgroup) { g.Prefix[0] = traffic.Limits{traffic.UDPBPS: 1e6} }},
		"total thresholds":    {"{total_thresholds: {incoming: {flows: 3}}}", func(g *Hostgroup) { g.Total[0][traffic.FPS] = 3 }},
		"disabled":            {"{enabled: false}", func(g *Hostgroup) { g.Enabled = [2]bool{} }},
		"one way disabled":    {"{enabled: {incoming: false}}", func(g *Hostgroup) { g.Enabled[0] = false }},
		"average off":         {"{average: off, window: 2s}", func(g *Hostgroup) { g.Average, g.Window = 0, 2*time.Second }},
		"average":             {"{average: ewma 1m}", func(g *Hostgroup) { g.Average = time.Minute }},
		"actions":             {"{actions: [notify]}", func(g *Hostgroup) { g.Drop, g.Notify = false, true }},
		"no actions":          {"{actions: []}", func(g *Hostgroup) { g.Drop, g.Notify = false, false }},
		"clear, quiet, time":  {"{clear: 1, quiet: 0, ban_time: 0s}", func(g *Hostgroup) { g.Clear, g.Quiet, g.BanTime = 1, 0, 0 }},
		"networks from files": {"{files: [lists/empty.txt]}", func(*Hostgroup) {}},
	}
	const before, after = "hostgroups:\n  web: ", `
  default:
    networks: [192.0.2.128/25]
    thresholds: {pps: 100, mbps: 8, incoming: {tcp_syn_pps: 10}}
    prefix_thresholds: {pps: 1000}
    total_thresholds: {outgoing: {flows: 5}}
    average: ewma 5s
    actions: [drop]
networks: {prefixes: [192.0.2.0/24]}
`
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			web := base
			web.Name, web.Networks = "web", nil
			test.want(&web)
			got := mustParse(t, before+test.group+after)
			if diff := cmp.Diff(got.Hostgroups, []Hostgroup{base, web}, compareNet); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

// TestMembers: the most specific hostgroup wins, whether the network is written down or found at run time.
func TestMembers(t *testing.T) {
	c := mustParse(t, `
networks: {prefixes: [10.0.0.0/16, 192.0.2.0/24, 192.0.3.0/24, "2001:db8::/48"], local_addresses: true}
hostgroups:
  web: {networks: [10.0.0.0/20, 192.0.2.0/23, 203.0.113.0/24]}
  mail: {networks: [10.0.1.0/24, "2001:db8:0:1::/64"]}
  default: {networks: [10.0.1.128/25]}
`)
	const base, web, mail = 0, 1, 2
	member := func(text string, group int) Member { return Member{netip.MustParsePrefix(text), group} }
	want := []Member{
		member("10.0.0.0/16", base), member("10.0.0.0/20", web), member("10.0.1.0/24", mail), member("10.0.1.128/25", base),
		member("10.0.1.7/32", mail),
		member("192.0.2.0/23", web), // all of it is ours, in two halves
		member("192.0.2.0/24", web), member("192.0.3.0/24", web),
		member("198.51.100.1/32", base),
		member("203.0.113.9/32", web), // of the rest of 203.0.113.0/24 nothing is ours
		member("2001:db8::/48", base), member("2001:db8:0:1::/64", mail),
	}
	got := c.Members(prefixes("10.0.1.7/32", "203.0.113.9/32", "198.51.100.1/32"))
	less := func(a, b Member) bool { return a.Prefix.Compare(b.Prefix) < 0 }
	if diff := cmp.Diff(got, want, compareNet, cmpopts.SortSlices(less)); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	for i := 1; i < len(got); i++ {
		if !less(got[i-1], got[i]) {
			t.Errorf("%v does not come before %v", got[i-1], got[i])
		}
	}
}
