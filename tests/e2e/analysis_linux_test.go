package e2e

import (
	"fmt"
	"strings"
	"testing"

	"weir/userspace/api/weirpb"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// TestAnalysis: what an attack is made of is known soon after it was detected, by samples of the kernel or of an engine, and rules with it.
func TestAnalysis(t *testing.T) {
	for _, tt := range []struct {
		name, interfaces string
		flags            uint8
		class, condition string
	}{
		{"XDP", "{name: out, mode: native, role: host}", traffic.FlagSYN, "syn_flood", "tcp-flags syn"},
		{"AF_PACKET", "{name: out, engine: afpacket, role: mirror}", traffic.FlagRST, "rst_flood", "tcp-flags rst"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			d := startDaemon(t, b.router, "", fmt.Sprintf(`
interfaces: [%s]
networks: {prefixes: [192.0.2.0/24]}
memory: {cells: 64MB}
sampling: {rate: 100, suspect_rate: 10}
hostgroups: {default: {%s, actions: [notify], quiet: 500ms}}
`, tt.interfaces, hostThreshold))
			packet := frame(t, b.world, b.router, "out", worldAddr, victimAddr)
			packet.Protocol, packet.TCPFlags, packet.Length = traffic.ProtoTCP, tt.flags, 0
			flood(t, 20_000, lab.FloodOptions{
				Host: b.world, Frame: packet, Sources: lab.Addresses{Spread: lab.Random, Prefix: prefixes(spoofed)[0]}, SrcPorts: 0xffff,
			})
			attack := d.changes.await(t, "the analysis", 0, d.ended, func(a *weirpb.Attack) bool { return a.GetTarget() == victimAddr && a.GetAnalysis() != nil })
			is := attack.GetAnalysis()
			if is.GetClass() != tt.class || is.GetSamples() == 0 || is.GetConfidence() < 0.5 {
				t.Errorf("got %v, want %s", is, tt.class)
			}
			if r := is.GetRules(); len(r.GetRules()) == 0 || r.GetCoverage() < 0.95 || !strings.Contains(r.GetRules()[0].GetRule(), tt.condition) {
				t.Errorf("rules: %v, want one with %q", r, tt.condition)
			}
			if shown := d.weir(t, "attacks", "show", attack.GetId()).out; !strings.Contains(shown, tt.class) || !strings.Contains(shown, tt.condition) {
				t.Errorf("weir attacks show:\n%s", shown)
			}
		})
	}
}
