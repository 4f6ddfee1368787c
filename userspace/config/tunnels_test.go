package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

func TestTunnels(t *testing.T) {
	for text, want := range map[string]traffic.Tunnels{
		"":             {Depth: 4},
		"{vxlan: off}": {Depth: 4},
		"{account: inner, depth: 8, mpls: on, pppoe: on, gre: on, erspan: on, ipip: on, vxlan: on, geneve: on, gtpu: on, l2tp: on, l2tpv3: on}": {
			Inner: true, Depth: 8, MPLS: true, PPPoE: true, GRE: true, ERSPAN: true, IPIP: true, VXLAN: []uint16{4789}, GENEVE: 6081, GTPU: 2152, L2TP: 1701, L2TPv3: true,
		},
		"{account: outer, depth: 1, vxlan: [8472, 4789], geneve: 1, gtpu: off, l2tp: 65535}": {Depth: 1, VXLAN: []uint16{4789, 8472}, GENEVE: 1, L2TP: 65535},
		"{vxlan: 8472}": {Depth: 4, VXLAN: []uint16{8472}},
		"{vxlan: []}":   {Depth: 4},
	} {
		t.Run(text, func(t *testing.T) {
			if diff := cmp.Diff(mustParse(t, "tunnels: "+text).Tunnels, want); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

// TestTunnelsWarning: inner addresses are counted only of tunnels that are looked into.
func TestTunnelsWarning(t *testing.T) {
	const whole = "networks: {prefixes: [192.0.2.0/24]}\ninterfaces: [{name: eth0}]\nhostgroups: {default: {thresholds: {pps: 1}}}\n"
	want := []Error{{"weir.yaml", 4, 20, `"tunnels.account" is inner, but no kind of tunnel is on: set those that your packets have, such as gre: on`}}
	if diff := cmp.Diff([]Error(mustParse(t, whole+"tunnels: {account: inner}").Warnings), want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	for _, text := range []string{
		"mpls: on", "pppoe: on", "gre: on", "erspan: on", "ipip: on", "vxlan: on", "geneve: on", "gtpu: on", "l2tp: on", "l2tpv3: on",
	} {
		if got := mustParse(t, whole+"tunnels: {account: inner, "+text+"}").Warnings; len(got) > 0 {
			t.Errorf("%s: got %v", text, got)
		}
	}
}
