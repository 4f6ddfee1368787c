package e2e

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// TestAuthenticate: under a SYN flood from made-up addresses, with a rung that challenges sources, clients still connect, and the flood
// does not come through.
func TestAuthenticate(t *testing.T) {
	b := newBed(t)
	answerable(t, b.world)
	d := startDaemon(t, b.router, "", fmt.Sprintf(`
interfaces: [{name: out, mode: native, role: host}]
networks: {prefixes: [192.0.2.0/24]}
memory: {cells: 64MB}
hostgroups: {default: {%s, quiet: 500ms, ban_time: 1s, ladder: [{do: [authenticate]}]}}
`, hostThreshold))
	ordinary := b.use(t, b.victim, victimAddr)
	packet := frame(t, b.world, b.router, "out", worldAddr, victimAddr)
	packet.Protocol, packet.TCPFlags, packet.Length, packet.DstPort = traffic.ProtoTCP, traffic.FlagSYN, 0, servicePort
	f := flood(t, 20_000, lab.FloodOptions{
		Host: b.world, Frame: packet, Sources: lab.Addresses{Spread: lab.Random, Prefix: prefixes(spoofed)[0]}, SrcPorts: 0xffff,
	})
	d.response(t, victimAddr, 1)
	until(t, "the flood to be held back", func() bool {
		before := received(t, b.victim)
		f.more(t, 10_000)
		return received(t, b.victim)-before < 1000 // requests go on
	})
	served(t, "connections during the flood", ordinary)
	f.stop(t)
	until(t, "the end of the response", func() bool { return len(d.bans(t)) == 0 })
	served(t, "connections after the flood", ordinary)
}

// answerable puts a program on a host's link that lets everything pass: a veth hands over what its other end sends back by XDP_TX only to
// one that has some.
func answerable(t *testing.T, h *lab.Host) {
	t.Helper()
	pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2 /* XDP_PASS */), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	var l link.Link
	err = h.Do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		l, err = link.AttachXDP(link.XDPOptions{Program: pass, Interface: eth0.Index, Flags: link.XDPDriverMode})
		return err
	})
	if err != nil {
		t.Fatal(errors.Join(err, pass.Close()))
	}
	t.Cleanup(func() {
		if err := errors.Join(l.Close(), pass.Close()); err != nil {
			t.Error(err)
		}
	})
}
