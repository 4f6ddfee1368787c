package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/userspace/capture/pcapfile"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// TestReplay sends real floods at the victim at speed, beside ordinary traffic of several kinds: each is called by its name, what is
// found against it stops 95 % of it or more, and ordinary traffic does not suffer.
func TestReplay(t *testing.T) {
	for _, tt := range []struct{ file, class string }{
		{"pkt.TCP.synflood.spoofed.pcap", "syn_flood"},
		{"amp.TCP.reflection.SYNACK.pcap", "syn_ack_reflection"},
		{"amp.UDP.isakmp.pcap", "ike_amplification"},
		{"amp.UDP.snmp.src161.pcapng", "snmp_amplification"},
	} {
		t.Run(tt.class, func(t *testing.T) { testReplay(t, tt.file, tt.class) })
	}
}

func testReplay(t *testing.T, file, class string) {
	path := filepath.Join("..", "..", "..", "shared", "data", "attacks", file)
	if _, err := os.Stat(path); err != nil {
		t.Skip("real floods are no part of this project: " + path + " is not there")
	}
	b := newBed(t)
	d := startDaemon(t, b.router, "", `
interfaces: [{name: out, mode: native, role: host}]
networks: {prefixes: [192.0.2.0/24]}
memory: {cells: 64MB}
sampling: {rate: 20, suspect_rate: 5}
hostgroups: {default: {thresholds: {incoming: {pps: 6000}}, quiet: 500ms, ban_time: 1s, ladder: [{do: [filter]}]}}
`)
	users := b.ordinary(t)
	// What is ordinary has to be seen before the attack.
	until(t, "ordinary traffic to be known", func() bool { return d.incoming(t, victimAddr) > 2000 })

	r := b.replay(t, path)
	attack := func() (rules int, named string) {
		for _, a := range d.attacks(t) {
			if a.GetTarget() == victimAddr {
				return len(d.rules(t)), a.GetAnalysis().GetClass()
			}
		}
		return 0, ""
	}
	until(t, "rules against it", func() bool { n, named := attack(); return n > 0 && named != "" })
	if _, named := attack(); named != class {
		t.Errorf("it is called %s, want %s", named, class)
	}
	// The first rules may be followed by better ones: an attacker's packets are not all alike.
	const n = 20_000
	share := 0.0
	until(t, "95 % of it to be stopped", func() bool {
		sent, dropped := r.sent.Load(), d.total(t, victimAddr, 1).GetDropped().GetPackets()
		until(t, "more of it", func() bool { return r.sent.Load() >= sent+n })
		share = float64(d.total(t, victimAddr, 1).GetDropped().GetPackets()-dropped) / float64(r.sent.Load()-sent)
		return share >= 0.95
	})
	// Requests from before the rules, when all was dropped, end first: one of each user.
	before := make([]lab.ProbeStats, len(users))
	for i, u := range users {
		was := u.Stats()
		until(t, "the end of a request", func() bool {
			before[i] = u.Stats()
			return before[i].OK+before[i].Failed > was.OK+was.Failed
		})
	}
	for i, u := range users {
		until(t, "requests during the attack", func() bool { return u.Stats().OK >= before[i].OK+20 })
	}
	var ok, failed uint64
	for i, u := range users {
		now := u.Stats()
		ok, failed = ok+now.OK-before[i].OK, failed+now.Failed-before[i].Failed
	}
	t.Logf("%s: %.1f %% dropped; of ordinary requests %d answered, %d not; rules:", class, 100*share, ok, failed)
	for _, rule := range d.rules(t) {
		t.Log(rule.GetRule())
	}
	if failed*100 > ok+failed {
		t.Errorf("%d of %d ordinary requests failed", failed, ok+failed)
	}
}

// ordinary has the world use the victim in several ways at once: pages, name service, a call, a game, a download.
func (b *bed) ordinary(t *testing.T) (users []*lab.Prober) {
	t.Helper()
	for _, use := range []struct {
		network string
		port    uint16
		every   time.Duration
	}{
		{"tcp", 80, 15 * time.Millisecond}, {"tcp", 443, 20 * time.Millisecond}, {"tcp", 8443, 5 * time.Millisecond},
		{"udp", 5353, 25 * time.Millisecond}, {"udp", 10_000, 20 * time.Millisecond}, {"udp", 27_015, 16 * time.Millisecond},
	} {
		at := netip.AddrPortFrom(addr(victimAddr), use.port)
		if _, err := lab.Serve(b.victim, at); err != nil {
			t.Fatal(err)
		}
		p, err := lab.Probe(b.world, at, lab.ProbeOptions{Network: use.network, Interval: use.every, Timeout: 900 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		users = append(users, p)
	}
	return users
}

// replay is a capture that goes to the victim again and again.
type replayed struct{ sent atomic.Uint64 }

// replay sends the frames of a capture from the world to the victim, over and over, 20,000 a second at most, until the test ends.
func (b *bed) replay(t *testing.T, path string) *replayed {
	t.Helper()
	frames := b.frames(t, path)
	var socket, index int
	if err := b.world.Do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		index = eth0.Index
		socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, r := make(chan error, 1), &replayed{}
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for at := 0; ; {
			select {
			case <-ctx.Done():
				done <- nil
				return
			case <-tick.C:
			}
			for range 100 {
				if err := unix.Sendto(socket, frames[at%len(frames)], 0, &unix.SockaddrLinklayer{Ifindex: index}); err != nil && !errors.Is(err, unix.ENOBUFS) {
					done <- err
					return
				}
				at++
			}
			r.sent.Add(100)
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := unix.Close(socket); err != nil {
			t.Error(err)
		}
	})
	return r
}

// frames are the IPv4 packets of a capture as Ethernet frames to the victim by way of the router.
func (b *bed) frames(t *testing.T, path string) (frames [][]byte) {
	t.Helper()
	from, err := b.world.MAC("eth0")
	if err != nil {
		t.Fatal(err)
	}
	to, err := b.router.MAC("out")
	if err != nil {
		t.Fatal(err)
	}
	reader, err := pcapfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	victim := addr(victimAddr).As4()
	for {
		var f traffic.Frame
		if err := reader.Next(&f); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packet := f.Data
		if f.Link == traffic.LinkEthernet {
			packet = packet[min(14, len(packet)):]
		}
		if len(packet) < 20 || packet[0]>>4 != 4 || len(packet) > 1500 {
			continue
		}
		packet = append(append(append(append([]byte{}, to...), from...), 0x08, 0x00), packet...)
		readdress(packet[14:], victim)
		frames = append(frames, packet)
	}
	if len(frames) < 1000 {
		t.Fatalf("%s: %d packets", path, len(frames))
	}
	return frames
}

// readdress gives an IPv4 packet another destination, and mends the header's checksum (RFC 1624); those behind it nobody on the way looks at.
func readdress(packet []byte, to [4]byte) {
	copy(packet[16:20], to[:])
	packet[10], packet[11] = 0, 0
	var sum uint32
	for i := 0; i < int(packet[0]&15)*4; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(packet[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(packet[10:], ^uint16(sum))
}
