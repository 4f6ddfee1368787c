package loader_test

import (
	"fmt"
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

func ruleOf(t testing.TB, text string) traffic.Rule {
	t.Helper()
	r, err := traffic.ParseRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// setRules sets rules by their text; their IDs count up from 1.
func (p plane) setRules(t testing.TB, texts ...string) {
	t.Helper()
	var entries []loader.RuleEntry
	for i, text := range texts {
		entries = append(entries, loader.RuleEntry{Rule: ruleOf(t, text), ID: uint64(i + 1)})
	}
	if err := p.SetRules(time.Now(), entries); err != nil {
		t.Fatal(err)
	}
}

// hits is how many packets each rule has had.
func (p plane) hits(t testing.TB) map[uint64]uint64 {
	t.Helper()
	list, err := p.RuleHits()
	if err != nil {
		t.Fatal(err)
	}
	hits := map[uint64]uint64{}
	for _, h := range list {
		if h.Idle < 0 || h.Idle > time.Minute {
			t.Errorf("rule %d is idle for %s", h.ID, h.Idle)
		}
		hits[h.ID] = h.Packets
	}
	return hits
}

const (
	xdpDropped = 1
	xdpPassed  = 2
)

const toHost = "destination 198.51.100.7/32 "

// What is dropped is counted so; what is not meant, or is for another host, passes.
func TestOneRule(t *testing.T) {
	p := load(t)
	frame := pt.UDP4().Bytes()
	p.setRules(t, toHost+"protocol udp destination-port 53 then discard")
	if got := p.xdp(t, loader.Host, frame); got != xdpDropped {
		t.Errorf("got %d", got)
	}
	want := hostMoved("198.51.100.7", traffic.Incoming, uint64(len(frame)), "UDP")
	want["198.51.100.7 incoming DroppedPackets"], want["198.51.100.7 incoming DroppedBytes"] = 1, uint64(len(frame))
	if diff := cmp.Diff(p.moved(), with(want, exit(traffic.ReasonFilteredIn, 4, frame))); diff != "" {
		t.Errorf("counters (-got +want):\n%s", diff)
	}
	if got := p.xdp(t, loader.Mirror, frame); got != xdpDropped {
		t.Errorf("mirror: got %d", got)
	}
	if c := p.Counters().Exits[1]; c[traffic.ReasonFilteredIn].Packets != 1 || c[traffic.ReasonIncoming].Packets != 1 {
		t.Errorf("a mirror's copy is not dropped by a rule: %+v", c)
	}
	for name, other := range map[string][]byte{"other protocol": pt.TCP4().Bytes(),
		"other host": pt.UDP4(func(f *pt.Frame) { f.Dst = f.Dst.Next() }).Bytes()} {
		if got := p.xdp(t, loader.Host, other); got != xdpPassed {
			t.Errorf("%s: got %d", name, got)
		}
	}
	list, err := p.RuleHits()
	if err != nil || len(list) != 1 || list[0].ID != 1 || list[0].Packets != 2 || list[0].Bytes != 2*uint64(len(frame)) {
		t.Errorf("hits %+v, %v", list, err)
	}
	p.setRules(t)
	if got := p.xdp(t, loader.Host, frame); got != xdpPassed {
		t.Errorf("without rules again: got %d", got)
	}
}

// Which rule decides, and which count.
func TestRuleOrder(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules []string // "shadow " in front: in shadow
		frame []byte
		want  uint32
		hits  map[uint64]uint64
	}{
		{"the first that matches", []string{toHost + "protocol udp then discard", toHost + "destination-port 53 then discard"},
			pt.UDP4().Bytes(), xdpDropped, map[uint64]uint64{1: 1}},
		{"what lets pass is before", []string{toHost + "protocol udp then discard", toHost + "source 192.0.2.0/24 then accept"},
			pt.UDP4().Bytes(), xdpPassed, map[uint64]uint64{2: 1}},
		{"shadow counts, whoever decides", []string{toHost + "protocol udp then discard", "shadow " + toHost + "destination-port 53 then discard"},
			pt.UDP4().Bytes(), xdpDropped, map[uint64]uint64{1: 1, 2: 1}},
		{"shadow does nothing else", []string{"shadow " + toHost + "protocol udp then discard"}, pt.UDP4().Bytes(), xdpPassed, map[uint64]uint64{1: 1}},
		{"payloads of one key", []string{toHost + "protocol udp payload 0:00 then accept", toHost + "protocol udp payload 0:77656972 then discard",
			toHost + "protocol udp then accept"}, pt.UDP4().Bytes(), xdpPassed, map[uint64]uint64{3: 1}},
		{"payload", []string{toHost + "protocol udp payload 0:00 then discard", toHost + "protocol udp payload 0:77656972&5:73 then discard"},
			pt.UDP4().Bytes(), xdpDropped, map[uint64]uint64{2: 1}},
		{"by source only", []string{"source 198.51.100.0/24 protocol udp then discard"},
			pt.UDP4(func(f *pt.Frame) { f.Src, f.Dst = f.Dst, f.Src }).Bytes(), xdpDropped, map[uint64]uint64{1: 1}},
		{"IPv6", []string{"destination 2001:db8:2::/48 source 2001:db8:1::/64 length >=40 protocol tcp tcp-flags syn&!ack then discard"},
			pt.TCP6().Bytes(), xdpDropped, map[uint64]uint64{1: 1}},
		{"neighbour discovery is never dropped", []string{"destination 2001:db8:2::/48 then discard"},
			pt.Set(pt.ICMP6().Bytes(), 54, 135), xdpPassed, map[uint64]uint64{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := load(t)
			var entries []loader.RuleEntry
			for i, text := range tt.rules {
				text, shadow := strings.CutPrefix(text, "shadow ")
				e := loader.RuleEntry{Rule: ruleOf(t, text), ID: uint64(i + 1)}
				if shadow {
					e.Mode = loader.Shadow
				}
				entries = append(entries, e)
			}
			if err := p.SetRules(time.Now(), entries); err != nil {
				t.Fatal(err)
			}
			if got := p.xdp(t, loader.Host, tt.frame); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
			if diff := cmp.Diff(p.hits(t), tt.hits); diff != "" {
				t.Errorf("hits (-got +want):\n%s", diff)
			}
		})
	}
}

// What a server sends is filtered on its way out.
func TestRuleOnEgress(t *testing.T) {
	p := load(t)
	p.setRules(t, "source 198.51.100.7/32 protocol udp payload 0:77 then discard")
	prog, err := p.Egress()
	if err != nil {
		t.Fatal(err)
	}
	frame := pt.UDP4(func(f *pt.Frame) { f.Src, f.Dst = f.Dst, f.Src }).Bytes()
	const shot = 2 // TC_ACT_SHOT
	if got, err := prog.Run(&ebpf.RunOptions{Data: frame}); err != nil || got != shot {
		t.Errorf("got %d, %v", got, err)
	}
	if n := p.Counters().Exits[1][traffic.ReasonFilteredOut].Packets; n != 1 {
		t.Errorf("%d packets left as filtered out", n)
	}
}

// A tenth of a second's worth may come at once; what a rule has used up outlives the rules' replacement, as do its hits.
func TestRuleLimit(t *testing.T) {
	const burst = 10
	frame := pt.UDP4().Bytes()
	for name, action := range map[string]string{
		"packets": fmt.Sprintf("rate-packets %d", burst*10), "bytes": fmt.Sprintf("rate-bytes %d", burst*10*len(frame)),
		"the lower of two": fmt.Sprintf("rate-packets %d rate-bytes 1G", burst*10),
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t)
			rule := toHost + "protocol udp then " + action
			p.setRules(t, rule)
			start, passed, sent := time.Now(), 0, 0
			for range 3 {
				for range 40 {
					sent++
					if p.xdp(t, loader.Host, frame) == xdpPassed {
						passed++
					}
				}
				p.setRules(t, rule)
			}
			most := burst + 2 + int(time.Since(start).Seconds()*burst*10)
			if passed < burst || passed > most {
				t.Errorf("%d packets of %d passed, want %d to %d", passed, sent, burst, most)
			}
			if got := p.hits(t)[1]; got != uint64(sent) {
				t.Errorf("%d hits, want %d", got, sent)
			}
		})
	}
}

// A rule ends by the kernel's clock, and those behind it come to pass.
func TestRuleExpires(t *testing.T) {
	p := load(t)
	now := time.Now()
	soon := now.Add(time.Millisecond)
	err := p.SetRules(now, []loader.RuleEntry{
		{ID: 1, Rule: ruleOf(t, toHost+"protocol udp then discard"), Until: soon},
		{ID: 2, Rule: ruleOf(t, toHost+"protocol udp then rate-packets 1G"), Until: now.Add(time.Hour)},
		{ID: 3, Rule: ruleOf(t, toHost+"protocol tcp then discard"), Until: now.Add(-time.Second)},
		{ID: 4, Rule: ruleOf(t, "destination 198.51.100.8/32 then discard"), Until: soon},
	})
	if err != nil {
		t.Fatal(err)
	}
	deadline := now.Add(10 * time.Second)
	for p.xdp(t, loader.Host, pt.UDP4().Bytes()) == xdpDropped {
		if time.Now().After(deadline) {
			t.Fatal("the rule does not end")
		}
	}
	if got := p.hits(t); got[2] != 1 || got[3] != 0 {
		t.Errorf("hits %v", got)
	}
	for name, frame := range map[string][]byte{"ended before it began": pt.TCP4().Bytes(),
		"ended": pt.TCP4(func(f *pt.Frame) { f.Dst = netip.MustParseAddr("198.51.100.8") }).Bytes()} {
		if got := p.xdp(t, loader.Host, frame); got != xdpPassed {
			t.Errorf("%s: got %d", name, got)
		}
	}
}

// A host in a network whose hosts get their cells on demand is under its rules from the first packet on, and a ban goes before rules.
func TestRulesForNewHosts(t *testing.T) {
	p := load(t)
	p.setRules(t, "destination 10.0.0.0/15 protocol udp then discard", toHost+"protocol tcp then accept")
	for _, host := range []string{"10.0.0.1", "10.1.255.255"} {
		frame := pt.UDP4(func(f *pt.Frame) { f.Dst = netip.MustParseAddr(host) }).Bytes()
		if got := p.xdp(t, loader.Host, frame); got != xdpDropped {
			t.Errorf("%s: got %d", host, got)
		}
	}
	slot, ok := p.layout.DenseSlot(netip.MustParseAddr("198.51.100.7"))
	if !ok {
		t.Fatal("no slot")
	}
	ban := loader.Verdict{Action: traffic.ActionDrop, Until: time.Hour}
	if err := p.SetVerdict(func(yield func(uint32) bool) { yield(slot) }, traffic.Incoming, ban); err != nil {
		t.Fatal(err)
	}
	if got := p.xdp(t, loader.Host, pt.TCP4().Bytes()); got != xdpDropped {
		t.Errorf("banned: got %d", got)
	}
}
