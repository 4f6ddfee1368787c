package announce

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// scene is a random state of everything that decides what is announced.
type scene struct {
	own, never []netip.Prefix
	policy     Policy
	guards     Guards
	records    []traffic.Record
	byHand     []traffic.Announcement
}

// randomPrefix is of a small space, so that prefixes meet each other.
func randomPrefix(r *rand.Rand) netip.Prefix {
	if r.IntN(3) == 0 {
		a := [16]byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(r.IntN(2)), 0, byte(r.IntN(2)), 15: byte(r.IntN(4))}
		return netip.PrefixFrom(netip.AddrFrom16(a), []int{0, 1, 12, 16, 32, 48, 64, 128, 128, 128}[r.IntN(10)]).Masked()
	}
	a := [4]byte{10, byte(r.IntN(2)), byte(r.IntN(2)), byte(r.IntN(8) * 32)}
	return netip.PrefixFrom(netip.AddrFrom4(a), []int{0, 1, 7, 8, 16, 20, 24, 25, 32, 32, 32, 32, 32}[r.IntN(13)]).Masked()
}

func randomPrefixes(r *rand.Rand, most int) []netip.Prefix {
	var all []netip.Prefix
	for range r.IntN(most + 1) {
		all = append(all, randomPrefix(r))
	}
	return all
}

var randomNames = []string{"a", "b", "c", "d"}

func randomScene(t testing.TB, r *rand.Rand) *scene {
	s := &scene{own: randomPrefixes(r, 6), never: randomPrefixes(r, 2)}
	s.never = slices.DeleteFunc(s.never, func(p netip.Prefix) bool { return p.Bits() < 16 && r.IntN(4) > 0 }) // else nothing is left to announce
	if r.IntN(4) == 0 {
		s.own = append(s.own, prefixes("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1")...) // all of it, in pieces
	}
	s.guards = guardsOf(s.own, s.never)
	p := &s.policy
	p.Suspended = r.IntN(20) == 0
	p.Groups, p.Actions = map[string][]string{}, map[string]Action{}
	for _, name := range randomNames {
		if r.IntN(4) > 0 {
			p.Actions[name] = randomAction(t, r)
		}
		p.Groups["group "+name] = randomNames[:r.IntN(3)]
	}
	p.Groups["default"] = randomNames[r.IntN(4):]
	for _, name := range randomNames[:r.IntN(4)] {
		receiver := Receiver{Name: name, MaxRoutes: map[string]int{}}
		for _, f := range []string{unicast4, unicast6, flowSpec4, flowSpec6} {
			receiver.MaxRoutes[f] = r.IntN(6)
		}
		p.Receivers = append(p.Receivers, receiver)
	}
	p.Aggregate = Aggregate{Over: r.IntN(4), Length: [2]int{[]int{0, 8, 24, 28}[r.IntN(4)], []int{0, 16, 48, 64}[r.IntN(4)]}}
	for i := range r.IntN(25) {
		s.records = append(s.records, randomRecord(r, i))
	}
	for range r.IntN(4) {
		a := traffic.Announcement{Prefix: randomPrefix(r), NextHop: []netip.Addr{discard4, discard6, {}}[r.IntN(3)], Peers: randomNames[:r.IntN(3)], Owner: Manual}
		if r.IntN(2) == 0 {
			one := template(t, "protocol udp then discard")
			if r.IntN(4) > 0 {
				one.Destination = randomPrefix(r)
			}
			if one.Destination.IsValid() && one.Destination.Addr().Is6() && r.IntN(4) == 0 {
				one.DestinationOffset = uint8(r.IntN(64))
			}
			a.Rule = &one
		}
		s.byHand = append(s.byHand, a)
	}
	return s
}

func randomAction(t testing.TB, r *rand.Rand) Action {
	a := Action{
		Kind: Kind(r.IntN(int(KindCount))), Directions: [2]bool{r.IntN(4) > 0, r.IntN(2) > 0},
		Length: [2]int{[]int{0, 32, 24, 16, 1, LengthNetwork}[r.IntN(6)], []int{0, 128, 64, 48, 1, LengthNetwork}[r.IntN(6)]},
		Widest: [2]int{[]int{0, 24, 32, -5}[r.IntN(4)], []int{0, 48, 128, -5}[r.IntN(4)]},
	}
	if a.Kind == Divert {
		a.OverNeverBan, a.GroupPrefixes = r.IntN(3) == 0, randomPrefixes(r, 2)
	}
	if a.Kind == FlowSpec {
		a.Rules = []traffic.Rule{template(t, "protocol udp then discard"), template(t, "protocol tcp then discard")}[:1+r.IntN(2)]
	}
	for i := range 1 + r.IntN(2) {
		to := Attributes{NextHop: [2]netip.Addr{discard4, discard6}, Prepend: i}
		if r.IntN(5) == 0 {
			to.NextHop[r.IntN(2)] = netip.Addr{}
		}
		if i > 0 {
			to.Peers = randomNames[:1+r.IntN(2)]
		}
		if a.OverNeverBan {
			to.MED = number(1) // to be recognised by
		}
		a.Announcements = append(a.Announcements, to)
	}
	return a
}

func randomRecord(r *rand.Rand, i int) traffic.Record {
	record := traffic.Record{
		Attack: traffic.Attack{ID: fmt.Sprintf("attack %d", i), Target: traffic.Target{
			Scope: traffic.ScopePrefix, Prefix: randomPrefix(r), Group: "group " + randomNames[r.IntN(4)], Direction: traffic.Direction(r.IntN(2)),
		}},
		Ban: traffic.Ban{Since: start.Add(time.Duration(r.IntN(5)) * time.Second), Drop: r.IntN(2) == 0},
	}
	switch r.IntN(8) {
	case 0:
		record.Ban.Lifted = start.Add(time.Hour)
	case 1:
		record.Ban.DryRun = true
	case 2:
		record.Ban.Since = time.Time{}
	case 3:
		record.Attack.Target = traffic.Target{Scope: traffic.ScopeGroup, Group: "group " + randomNames[r.IntN(4)]}
	case 4:
		record.Attack.Target.Group = ""
	}
	if record.Attack.Target.Prefix.IsSingleIP() {
		record.Attack.Target.Scope = traffic.ScopeHost
	}
	return record
}

// insideOwn is a second opinion on what is ours: every address, of both ends and of some in between, lies in one of the networks.
func insideOwn(own []netip.Prefix, p netip.Prefix) bool {
	addr := p.Addr()
	for range 300 {
		at := slices.IndexFunc(own, func(o netip.Prefix) bool { return o.Contains(addr) })
		if at < 0 {
			return false
		}
		widest := own[at]
		for _, o := range own {
			if o.Contains(addr) && o.Bits() < widest.Bits() {
				widest = o
			}
		}
		addr = lastOf(widest).Next() // the first that this network does not hold
		if !addr.IsValid() || !p.Contains(addr) {
			return true
		}
	}
	return false
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// check holds what is announced in a scene against everything that must be true of it.
func (s *scene) check(t *testing.T, set []traffic.Announcement, refused []Refused) {
	t.Helper()
	active := map[string]*traffic.Record{}
	for i := range s.records {
		if r := &s.records[i]; !r.Ban.Since.IsZero() && r.Ban.Lifted.IsZero() && !r.Ban.DryRun {
			active[r.Attack.ID] = r
		}
	}
	counts, known := map[string]int{}, map[string]bool{}
	for _, a := range set {
		prefix := a.Prefix
		if a.Rule != nil {
			prefix = a.Rule.Destination
			if a.Rule.DestinationOffset != 0 || a.Rule.Validate() != nil {
				t.Errorf("announced: rule %s", a.Rule)
			}
		}
		least := 8
		if prefix.Addr().Is6() {
			least = 16
		}
		switch {
		case prefix.Bits() < least:
			t.Errorf("announced: %s", a.Route())
		case !insideOwn(s.own, prefix):
			t.Errorf("announced: %s, which is not inside %v", a.Route(), s.own)
		}
		if overNever := a.MED != nil; !overNever && slices.ContainsFunc(s.never, prefix.Overlaps) {
			t.Errorf("announced: %s, never ban %v", a.Route(), s.never)
		}
		if a.Rule == nil && (!a.NextHop.IsValid() || a.NextHop.Is4() != prefix.Addr().Is4()) {
			t.Errorf("announced: %s by way of %s", a.Route(), a.NextHop)
		}
		s.checkOwner(t, &a, prefix, active)
		for _, receiver := range s.policy.Receivers {
			if len(a.Peers) > 0 && !slices.Contains(a.Peers, receiver.Name) {
				continue
			}
			if len(a.Peers) == 0 && receiver.MaxRoutes[a.Family()] == 0 {
				continue
			}
			counts[receiver.Name+" "+a.Family()]++
			if counts[receiver.Name+" "+a.Family()] > receiver.MaxRoutes[a.Family()] {
				t.Errorf("announced: more than %d routes of %s to %s", receiver.MaxRoutes[a.Family()], a.Family(), receiver.Name)
			}
			route := a
			route.Peers = nil
			if known[receiver.Name+" "+route.Key()] {
				t.Errorf("announced twice to %s: %s", receiver.Name, route.Key())
			}
			known[receiver.Name+" "+route.Key()] = true
		}
		for _, name := range a.Peers {
			if !slices.ContainsFunc(s.policy.Receivers, func(r Receiver) bool { return r.Name == name }) {
				t.Errorf("announced to %s, whom nobody knows", name)
			}
		}
	}
	for _, r := range refused {
		if _, ok := active[r.Owner]; !ok && r.Owner != Manual || r.Detail == "" || r.Route == "" {
			t.Errorf("refused: %+v", r)
		}
	}
	if s.policy.Suspended && len(set)+len(refused) > 0 {
		t.Errorf("suspended: %v", brief(set))
	}
}

// checkOwner finds whom an announcement is for.
func (s *scene) checkOwner(t *testing.T, a *traffic.Announcement, prefix netip.Prefix, active map[string]*traffic.Record) {
	t.Helper()
	if a.Owner == Manual {
		if !slices.ContainsFunc(s.byHand, func(b traffic.Announcement) bool { return b.Route() == a.Route() }) {
			t.Errorf("announced by hand: %s, and nobody did", a.Route())
		}
		return
	}
	r := active[a.Owner]
	switch {
	case r == nil:
		t.Errorf("announced: %s for %s, whose ban is not in force", a.Route(), a.Owner)
	case r.Attack.Target.Scope != traffic.ScopeGroup && !(prefix.Contains(r.Attack.Target.Prefix.Addr()) && prefix.Bits() <= r.Attack.Target.Prefix.Bits()):
		t.Errorf("announced: %s for an attack on %s", a.Route(), r.Attack.Target)
	}
}

// TestRandomScenes: whatever is given, the guards hold, and the order in which it is given does not matter.
func TestRandomScenes(t *testing.T) {
	announced, refusals := 0, map[Reason]int{}
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := randomScene(t, r)
		set, refused := Desired(s.records, s.byHand, s.policy, s.guards)
		s.check(t, set, refused)
		again := *s
		again.records, again.byHand = slices.Clone(s.records), slices.Clone(s.byHand)
		r.Shuffle(len(again.records), func(i, j int) { again.records[i], again.records[j] = again.records[j], again.records[i] })
		if len(slices.CompactFunc(sortedByKey(again.byHand), func(a, b traffic.Announcement) bool { return a.Key() == b.Key() })) == len(again.byHand) { // else the last one of a key counts
			slices.Reverse(again.byHand)
		}
		other, otherRefused := Desired(again.records, again.byHand, again.policy, again.guards)
		if diff := cmp.Diff(other, set, compare); diff != "" {
			t.Errorf("in another order (-got +want)\n%s", diff)
		}
		if diff := cmp.Diff(why(otherRefused), why(refused)); diff != "" {
			t.Errorf("refused in another order (-got +want)\n%s", diff)
		}
		if t.Failed() {
			t.Fatalf("seed %d: own %v", seed, s.own)
		}
		announced += len(set)
		for _, r := range refused {
			refusals[r.Why]++
		}
	}
	for why := range ReasonCount {
		if refusals[why] < 10 {
			t.Errorf("the scenes show %s only %d times", why, refusals[why])
		}
	}
	if announced < 700 {
		t.Errorf("the scenes announce %d routes only", announced)
	}
}
