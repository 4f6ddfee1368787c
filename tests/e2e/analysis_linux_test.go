package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weir/userspace/api/weirpb"
	"weir/userspace/lab"
	"weir/userspace/replay"
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
			until(t, "100 packets in the attack's capture", func() bool { return d.captured(t, attack.GetId()) >= 100 })
		})
	}
}

// captured is how many packets to the victim the capture of an attack holds.
func (d *daemon) captured(t *testing.T, id string) (n int) {
	t.Helper()
	cmd := exec.Command(d.program, "attacks", "pcap", id, "--folder", filepath.Join(d.folder, "attacks"))
	data, err := cmd.Output()
	if err != nil {
		return 0 // it has not begun
	}
	file := filepath.Join(t.TempDir(), "attack.pcapng")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	rule, err := traffic.ParseRule("destination " + victimAddr + " protocol tcp then discard")
	if err != nil {
		t.Fatal(err)
	}
	got, err := replay.TestRule(t.Context(), rule, file)
	if err != nil || got.Matched != got.Packets {
		t.Fatalf("the capture: %+v, %v; want packets to the victim alone", got, err)
	}
	return int(got.Matched)
}
