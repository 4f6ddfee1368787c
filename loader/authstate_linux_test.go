package loader_test

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"weir/loader"
	pt "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// Whom a host under authentication talks to is proven; whom it only answers, as it would a forged source, is not.
func TestPeersAreLearned(t *testing.T) {
	syn, ack, rst := uint8(traffic.FlagSYN), uint8(traffic.FlagACK), uint8(traffic.FlagRST)
	outgoing := func(tcp func(...pt.Mutation) pt.Frame, flags uint8) []byte {
		return tcp(pt.Flags(flags), func(f *pt.Frame) { f.Src, f.Dst, f.SrcPort, f.DstPort = f.Dst, f.Src, f.DstPort, f.SrcPort }).Bytes()
	}
	p := loadAuth(t)
	p.arm(t, "198.51.100.7/32", loader.Authentication{Mode: loader.AuthAll})
	p.arm(t, "2001:db8:2::/64", loader.Authentication{Mode: loader.AuthAll})
	egress, err := p.Egress()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		flags uint8
		learn bool
	}{
		{"syn", syn, true}, {"ack", ack, true}, {"fin-ack", ack | uint8(traffic.FlagFIN), true},
		{"syn-ack", syn | ack, false}, {"rst", rst, false}, {"rst-ack", rst | ack, false},
	} {
		for family, tcp := range map[string]func(...pt.Mutation) pt.Frame{"ipv4": pt.TCP4, "ipv6": pt.TCP6} {
			for where, send := range map[string]func([]byte) error{
				"egress": func(frame []byte) error { _, err := egress.Run(&ebpf.RunOptions{Data: frame}); return err },
				"wire":   func(frame []byte) error { p.give(t, loader.Wire, frame); return nil },
			} {
				t.Run(tt.name+" "+family+" "+where, func(t *testing.T) {
					p.ForgetProofs()
					if err := send(outgoing(tcp, tt.flags)); err != nil {
						t.Fatal(err)
					}
					want := map[bool]uint32{true: xdpPass, false: xdpDrop}[tt.learn]
					if got, _ := p.give(t, loader.Host, tcp(pt.Flags(ack)).Bytes()); got != want {
						t.Errorf("verdict %d on an ACK of the peer, want %d", got, want)
					}
				})
			}
		}
	}
	p.ForgetProofs()
	before := p.authStats(t).Learned
	other := pt.TCP4(pt.Flags(ack), func(f *pt.Frame) { f.Src, f.Dst = netip.MustParseAddr("198.51.100.9"), f.Src }).Bytes()
	if _, err := egress.Run(&ebpf.RunOptions{Data: other}); err != nil {
		t.Fatal(err)
	}
	if got := p.authStats(t).Learned; got != before {
		t.Errorf("learned %d peers of a host under no authentication", got-before)
	}
}

// eventually waits for the kernel's clock.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
	}
}

// The kernel itself ends the authentication, the grace and a proof: nobody takes them off here.
func TestAuthenticationExpires(t *testing.T) {
	p := loadAuth(t)
	ack, syn := pt.TCP4(pt.Flags(traffic.FlagACK)).Bytes(), pt.TCP4().Bytes()
	verdict := func(frame []byte) uint32 { v, _ := p.give(t, loader.Host, frame); return v }
	verdict(syn) // loads the program, which takes its time

	p.arm(t, "198.51.100.7/32", loader.Authentication{Mode: loader.AuthAll, Until: time.Hour, Grace: 2 * time.Second})
	if got := verdict(ack); got != xdpPass {
		t.Errorf("verdict %d on an ACK within the grace", got)
	}
	if got, err := p.AuthenticationOf(netip.MustParsePrefix("198.51.100.7/32")); err != nil || got.Mode != loader.AuthAll || got.Grace <= 0 || got.Until < 59*time.Minute {
		t.Errorf("authentication %+v, %v", got, err)
	}
	eventually(t, "the grace to end", func() bool { return verdict(ack) == xdpDrop })
	p.arm(t, "198.51.100.7/32", loader.Authentication{Mode: loader.AuthAll, Until: 2 * time.Second, Grace: time.Hour})
	if got := verdict(ack); got != xdpDrop {
		t.Errorf("verdict %d on an ACK after a renewal, which is to have no new grace", got)
	}
	eventually(t, "the authentication to end", func() bool { return verdict(ack) == xdpPass && verdict(syn) == xdpPass })
	if got, err := p.AuthenticationOf(netip.MustParsePrefix("198.51.100.7/32")); err != nil || got != (loader.Authentication{}) {
		t.Errorf("authentication %+v, %v after its end", got, err)
	}

	if err := p.SetAuthLimits(loader.AuthLimits{Lifetime: time.Second, Answers: 1e9}); err != nil {
		t.Fatal(err)
	}
	p.arm(t, "198.51.100.7/32", loader.Authentication{Mode: loader.AuthSYN})
	number := p.challenged(t, pt.TCP4(), 1)
	p.give(t, loader.Host, numbered(pt.TCP4(pt.Flags(traffic.FlagRST)), number))
	if stats := p.authStats(t); stats.Sources != 1 {
		t.Errorf("statistics %+v after a proof", stats)
	}
	eventually(t, "the proof to end", func() bool { return p.authStats(t).Sources == 0 })
	if got := verdict(syn); got != xdpTX {
		t.Errorf("verdict %d on a SYN after the end of the proof", got)
	}
}

// A CPU answers no more than it may; over that, SYNs are dropped and counted.
func TestAnswersAreLimited(t *testing.T) {
	p := loadAuth(t)
	if err := p.SetAuthLimits(loader.AuthLimits{Lifetime: time.Hour, Answers: 1}); err != nil {
		t.Fatal(err)
	}
	p.arm(t, "198.51.100.7/32", loader.Authentication{Mode: loader.AuthSYN})
	var stats loader.AuthStats
	eventually(t, "a SYN over the limit", func() bool {
		p.give(t, loader.Host, pt.TCP4().Bytes())
		stats = p.authStats(t)
		return stats.Unanswered > 0
	})
	if stats.Dropped != stats.Unanswered || stats.Challenged == 0 {
		t.Errorf("statistics %+v, want some answers, and what was not answered dropped", stats)
	}
	for _, bad := range []loader.AuthLimits{{Lifetime: time.Hour}, {Lifetime: time.Millisecond, Answers: 1}} {
		if err := p.SetAuthLimits(bad); err == nil {
			t.Errorf("limits %+v are taken", bad)
		}
	}
}

// Lists of sources come first, rules next; an answer to a challenge comes before rules, which may be against its like.
func TestAuthenticationBesideRules(t *testing.T) {
	p := loadPlan(t, func(p *loader.Plan) { p.Authenticate, p.Sources = 64, 64 })
	p.arm(t, "198.51.100.7/32", loader.Authentication{Mode: loader.AuthSYN})
	leaves := func(what string, frame []byte, want traffic.Reason) {
		t.Helper()
		before := p.Counters().Exits[1][want].Packets
		p.give(t, loader.Host, frame)
		if p.Counters().Exits[1][want].Packets != before+1 {
			t.Errorf("%s did not leave as %s", what, want)
		}
	}
	syn := pt.TCP4().Bytes()
	p.setRules(t, toHost+"protocol tcp tcp-flags rst then discard", toHost+"protocol tcp destination-port 80 then discard",
		toHost+"protocol tcp destination-port 22 then accept", toHost+"protocol tcp then rate-packets 1000000")
	leaves("a SYN within a rate", syn, traffic.ReasonChallenged)
	leaves("a SYN that a rule drops", pt.TCP4(pt.Port(80)).Bytes(), traffic.ReasonFilteredIn)
	leaves("a SYN that a rule lets pass", pt.TCP4(pt.Port(22)).Bytes(), traffic.ReasonIncoming)
	rst := pt.TCP4(pt.Flags(traffic.FlagRST))
	leaves("a RST", rst.Bytes(), traffic.ReasonFilteredIn)
	leaves("the answer to a challenge", numbered(rst, p.challenged(t, pt.TCP4(), 1)), traffic.ReasonProven)
	leaves("a SYN after the proof", syn, traffic.ReasonIncoming)
	p.ForgetProofs()
	if err := p.SetSources(prefixes("192.0.2.0/24"), prefixes("203.0.113.0/24")); err != nil {
		t.Fatal(err)
	}
	leaves("a SYN of a source that is allowed", syn, traffic.ReasonIncoming)
	leaves("one of a source that is blocked", pt.TCP4(source("203.0.113.1")).Bytes(), traffic.ReasonFilteredIn)
	p.ban(t, host4, traffic.Incoming, time.Hour)
	leaves("a SYN to a banned host", pt.TCP4(source("192.88.99.1")).Bytes(), traffic.ReasonBannedIn)
}

// Prefixes of any length, the longest of which decides; hosts without a cell of their own as well.
func TestAuthenticationOfPrefixes(t *testing.T) {
	for _, tt := range []struct {
		target   string
		in, out  string
		specific string // off for this host within it
	}{
		{"198.51.100.0/25", "198.51.100.9", "198.51.100.130", "198.51.100.7"},
		{"10.0.0.0/15", "10.1.2.3", "198.51.100.7", "10.0.0.7"},
		{"0.0.0.0/0", "198.51.100.7", "", "198.51.100.8"},
		{"2001:db8:2:1::/64", "2001:db8:2:1::5", "2001:db8:2:2::5", "2001:db8:2:1::7"},
		{"2001:db8:2::/47", "2001:db8:2:77::5", "", "2001:db8:2:77::7"},
		{"::/0", "2001:db8:2:77::5", "", "2001:db8:2:77::7"},
	} {
		t.Run(tt.target, func(t *testing.T) {
			p := loadAuth(t)
			p.arm(t, tt.target, loader.Authentication{Mode: loader.AuthAll})
			host := netip.MustParseAddr(tt.specific)
			p.arm(t, netip.PrefixFrom(host, host.BitLen()).String(), loader.Authentication{Mode: loader.AuthSYN})
			for a, want := range map[string]uint32{tt.in: xdpDrop, tt.out: xdpPass, tt.specific: xdpPass} {
				if a == "" {
					continue
				}
				tcp := pt.TCP4
				if strings.Contains(a, ":") {
					tcp = pt.TCP6
				}
				frame := tcp(pt.Flags(traffic.FlagACK), func(f *pt.Frame) { f.Dst = netip.MustParseAddr(a) }).Bytes()
				if got, _ := p.give(t, loader.Host, frame); got != want {
					t.Errorf("%s: verdict %d on an ACK, want %d", a, got, want)
				}
			}
			p.arm(t, tt.target, loader.Authentication{})
			p.arm(t, tt.specific+map[bool]string{true: "/32", false: "/128"}[host.Is4()], loader.Authentication{})
			if stats := p.authStats(t); stats.Hosts != 0 {
				t.Errorf("statistics %+v after the end", stats)
			}
		})
	}
}

// What cannot be done is refused.
func TestAuthenticationIsRefused(t *testing.T) {
	one, on := netip.MustParsePrefix("198.51.100.7/32"), loader.Authentication{Mode: loader.AuthSYN, Until: time.Hour}
	if err := load(t).SetAuthentication(one, on); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("without room: %v", err)
	}
	p := loadAuth(t)
	for name, err := range map[string]error{
		"no prefix":    p.SetAuthentication(netip.Prefix{}, on),
		"mapped":       p.SetAuthentication(netip.MustParsePrefix("::ffff:198.51.100.7/128"), on),
		"unknown mode": p.SetAuthentication(one, loader.Authentication{Mode: 9, Until: time.Hour}),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for i := range loader.MaxAuthHosts {
		p.arm(t, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32).String(), on)
	}
	if err := p.SetAuthentication(one, on); err == nil || !strings.Contains(err.Error(), "4096") {
		t.Errorf("one host too many: %v", err)
	}
	p.arm(t, "10.0.0.0/32", loader.Authentication{})
	p.arm(t, one.String(), on)
}

// A flood of sources that prove nothing leaves the table as it was; one of sources that do keeps to its size.
func TestProofsAreBounded(t *testing.T) {
	p := loadPlan(t, func(p *loader.Plan) { p.Authenticate = 64 })
	p.arm(t, "198.51.100.7/32", loader.Authentication{Mode: loader.AuthSYN})
	from := func(i int) pt.Mutation {
		return func(f *pt.Frame) { f.Src = netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)}) }
	}
	const sources = 1000
	for i := range sources {
		p.give(t, loader.Host, pt.TCP4(from(i)).Bytes())
		p.give(t, loader.Host, numbered(pt.TCP4(from(i), pt.Flags(traffic.FlagRST)), uint32(i)*0x9e3779b1))
	}
	if diff := cmp.Diff(p.authStats(t), loader.AuthStats{Hosts: 1, Room: 64, Challenged: sources}); diff != "" {
		t.Errorf("statistics after a flood (-got +want):\n%s", diff)
	}
	for i := range sources {
		p.give(t, loader.Host, numbered(pt.TCP4(from(i), pt.Flags(traffic.FlagRST)), p.challenged(t, pt.TCP4(from(i)), 1)))
	}
	stats := p.authStats(t)
	if stats.Proofs != sources || stats.Sources > 128 || stats.Sources < 64 || stats.Evicted != sources-uint64(stats.Sources) {
		t.Errorf("statistics %+v", stats)
	}
	if got, _ := p.give(t, loader.Host, pt.TCP4(from(sources-1)).Bytes()); got != xdpPass {
		t.Errorf("verdict %d on the newest source, want XDP_PASS", got)
	}
}

// Whatever comes is answered by nothing but a whole challenge, and never by more than it was.
func TestAnswersToDamage(t *testing.T) {
	p := loadAuth(t)
	p.arm(t, "0.0.0.0/0", loader.Authentication{Mode: loader.AuthAll})
	p.arm(t, "::/0", loader.Authentication{Mode: loader.AuthAll})
	random := rand.New(rand.NewPCG(4, 4))
	answers := 0
	for range 20_000 {
		base := [](func(...pt.Mutation) pt.Frame){pt.TCP4, pt.TCP6}[random.IntN(2)]
		frame := base(pt.Payload(random.IntN(40)), func(f *pt.Frame) {
			for range random.IntN(3) {
				pt.VLAN(pt.TypeVLAN, 5)(f)
			}
		}).Bytes()
		for range random.IntN(3) {
			frame[random.IntN(len(frame))] = byte(random.Uint32())
		}
		frame = pt.Cut(frame, 14+random.IntN(len(frame)-13))
		verdict, out := p.give(t, loader.Host, frame)
		if verdict != xdpTX {
			continue
		}
		answers++
		at := 14
		for (out[at-2] != 8 || out[at-1] != 0) && (out[at-2] != 0x86 || out[at-1] != 0xdd) {
			at += 4 // a tag of whatever type
		}
		header, addresses := 20, out[at+12:at+20]
		if out[at]>>4 == 6 {
			header, addresses = 40, out[at+8:at+40]
		} else if sum16(out[at:at+20]) != 0xffff {
			t.Fatalf("wrong IPv4 checksum in %x", out)
		}
		tcp := out[at+header : at+header+20]
		if len(out) > len(frame) || tcp[13] != traffic.FlagSYN|traffic.FlagACK || sum16(addresses, []byte{0, traffic.ProtoTCP, 0, 20}, tcp) != 0xffff {
			t.Fatalf("%x is answered by %x", frame, out)
		}
	}
	if answers < 2000 {
		t.Errorf("only %d answers", answers)
	}
}
