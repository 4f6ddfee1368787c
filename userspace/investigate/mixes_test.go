package investigate_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/analyze/dissect/dissecttest"
	"weir/userspace/investigate"
	"weir/userspace/lab/ordinary"
	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// The host that is attacked in all mixes.
const (
	victim4 = "192.0.2.7"
	victim6 = "2001:db8::7"
)

// When an attack begins in a mix, and how much of everything is sampled: floods are made as thin as their samples.
const (
	attackAfter = 8 * time.Second
	mixLasts    = 14 * time.Second
	oneIn       = 4
)

func begin() time.Time { return time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC) }

// look reads a frame as a sample.
func look(frame []byte, at time.Duration, rate uint32) (analyze.Seen, bool) {
	return analyze.Look(frame[:min(len(frame), traffic.SampleBytes)], traffic.LinkEthernet, uint32(len(frame)), begin().Add(at), rate)
}

// mix is ordinary traffic to a host, and what to hold rules against.
type mix struct {
	host    netip.Addr
	from    time.Duration  // since when it is seen
	samples []analyze.Seen // both ways, one in oneIn
	fresh   []analyze.Seen // to the host while the attack is on, those that are not sampled
}

func newMix(t testing.TB, host string, scale float64) *mix {
	t.Helper()
	frames, err := ordinary.Make(ordinary.Options{Host: netip.MustParseAddr(host), Seed: 11, Duration: mixLasts, Scale: scale})
	if err != nil {
		t.Fatal(err)
	}
	m := &mix{host: netip.MustParseAddr(host)}
	random := rand.New(rand.NewPCG(1, 1))
	for _, f := range frames {
		s, ok := look(f.Data, f.At, oneIn)
		switch {
		case !ok:
			t.Fatalf("no sample of a frame of %s", f.Kind)
		case random.IntN(oneIn) == 0:
			m.samples = append(m.samples, s)
		case f.Incoming && f.At > attackAfter:
			m.fresh = append(m.fresh, s)
		}
	}
	return m
}

// flood is an attack: frames to the host, of which every other one is sampled.
type flood struct {
	name, class string
	frame       func(i int, random *rand.Rand) []byte
}

// attacked has a book see ordinary traffic, and a flood of so many samples beside it within a second, and analyzes that.
func (m *mix) attacked(t testing.TB, f *flood, n int) (is *traffic.Analysis, fresh []analyze.Seen) {
	t.Helper()
	random := rand.New(rand.NewPCG(7, 7))
	var samples []analyze.Seen
	for i := range 2 * n {
		s, ok := look(f.frame(i, random), attackAfter+time.Duration(i)*time.Second/time.Duration(2*n), oneIn)
		if !ok {
			t.Fatalf("%s: no sample of frame %d", f.name, i)
		}
		s.Payload = slices.Clone(s.Payload)
		if i%2 == 0 {
			samples = append(samples, s)
		} else {
			fresh = append(fresh, s)
		}
	}
	b := investigate.New(func(a netip.Addr) bool { return a == m.host })
	target := traffic.Target{Prefix: netip.PrefixFrom(m.host, m.host.BitLen())}
	last := begin().Add(attackAfter + time.Second)
	followed := false
	for _, s := range merge(m.samples, samples) {
		if s.Time.After(last) {
			break
		}
		if s.Time.Before(begin().Add(m.from)) {
			continue
		}
		if !followed && s.Time.After(begin().Add(attackAfter+100*time.Millisecond)) {
			b.Follow(target, begin().Add(attackAfter))
			followed = true
		}
		b.Add(s)
	}
	c, ok := b.Open(target)
	if !ok {
		t.Fatalf("%s: nothing is known", f.name)
	}
	return c.Analyze(last), fresh
}

// merge puts samples in the order of their time.
func merge(a, b []analyze.Seen) []*analyze.Seen {
	all := make([]*analyze.Seen, 0, len(a)+len(b))
	for _, list := range [][]analyze.Seen{a, b} {
		for i := range list {
			all = append(all, &list[i])
		}
	}
	slices.SortStableFunc(all, func(x, y *analyze.Seen) int { return x.Time.Compare(y.Time) })
	return all
}

// met is the share of samples that any of the rules matches.
func met(t testing.TB, rules []traffic.MeasuredRule, samples []analyze.Seen) float64 {
	t.Helper()
	parsed := make([]traffic.Rule, len(rules))
	for i, r := range rules {
		var err error
		if parsed[i], err = traffic.ParseRule(r.Rule); err != nil {
			t.Fatal(err)
		}
	}
	hit := 0
	for i := range samples {
		f := samples[i].Facts()
		if slices.ContainsFunc(parsed, func(r traffic.Rule) bool { return r.Match(&f) }) {
			hit++
		}
	}
	return float64(hit) / float64(max(1, len(samples)))
}

// check holds an analysis against what the project promises, on packets that it was not made from.
func (m *mix) check(t *testing.T, f *flood, is *traffic.Analysis, fresh []analyze.Seen) {
	t.Helper()
	coverage, collateral := met(t, is.Rules.Rules, fresh), met(t, is.Rules.Rules, m.fresh)
	text := fmt.Sprintf("%s: class %s, stops %.4f of the attack and %.4f of %d ordinary packets (says %.4f, %.4f) %s", f.name, is.Class, coverage, collateral, len(m.fresh), is.Rules.Coverage, is.Rules.Collateral, is.Rules.Why)
	for _, r := range is.Rules.Rules {
		text += "\n" + r.Rule + ": " + r.Text
	}
	if is.Class != f.class {
		t.Errorf("want %s: %s", f.class, text)
	}
	const estimated = 0.03 // what it says is an estimate: nobody knows which of the packets beside the attack are ordinary
	least := 0.95
	if is.Normal == 0 { // then small vectors may be ordinary traffic
		least = 0.9
	}
	if coverage < least || collateral > 0.01 || is.Normal > 0 && math.Abs(is.Rules.Coverage-coverage) > estimated || is.Rules.Collateral > 0.01 {
		t.Error(text)
	} else {
		t.Log(text)
	}
}

// public is any address, and reflector one of 500.
func public(random *rand.Rand) netip.Addr {
	for {
		v := random.Uint32()
		if a := netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}); !analyze.Bogon(a) {
			return a
		}
	}
}

func reflector(i int) netip.Addr {
	b := binary.BigEndian.AppendUint32(nil, uint32(i%500+1)*2654435761)
	return netip.AddrFrom4([4]byte{byte(b[0])%100 + 20, b[1], b[2], b[3]})
}

// protocols are floods of each protocol's packets, of servers to clients and the other way round.
func protocols() (all []flood) {
	for _, p := range dissecttest.Payloads() {
		class := analyze.Requests(p.Name)
		if p.Role == "reply" && p.Amplifies {
			class = analyze.Amplification(p.Name)
		}
		all = append(all, flood{p.Name + " " + p.Detail + " " + p.Role, class, func(i int, _ *rand.Rand) []byte {
			base := packettest.UDP4
			if p.Transport == traffic.ProtoTCP {
				base = packettest.TCP4
			}
			return base(func(f *packettest.Frame) {
				f.Src, f.Dst, f.SrcPort, f.DstPort, f.Payload, f.TCPFlags = reflector(i), netip.MustParseAddr(victim4), p.Source, p.Destination, p.Bytes, traffic.FlagACK|traffic.FlagPSH
			}).Bytes()
		}})
	}
	return all
}

// TestProtocolsBesideOrdinary: rules against each protocol's flood stop it, and not what the host has on an ordinary day.
func TestProtocolsBesideOrdinary(t *testing.T) {
	m := newMix(t, victim4, 1)
	for _, f := range protocols() {
		t.Run(f.name, func(t *testing.T) {
			is, fresh := m.attacked(t, &f, 1500)
			m.check(t, &f, is, fresh)
		})
	}
}
