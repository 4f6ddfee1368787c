package announce

import (
	"errors"
	"net/netip"
	"slices"

	"weir/userspace/traffic"
)

// ErrSuspended is why nothing can be announced by hand in a dry run or under the kill switch.
var ErrSuspended = errors.New("announcements are suspended: it is a dry run, or the kill switch is on; turn it off in the configuration and reload first")

// Spell returns what an action announces about a prefix, to be announced by hand. An error is a *Refused: the guard that was in the way.
func Spell(action string, prefix netip.Prefix, p Policy, g Guards) ([]traffic.Announcement, error) {
	m := newMaker(&p, g)
	a, ok := p.Actions[action]
	if !ok {
		return nil, &Refused{Owner: Manual, Action: action, Route: prefix.String(), Why: NoAction, Detail: "there is no action " + action + "; see the configuration"}
	}
	if !prefix.IsValid() || prefix != prefix.Masked() {
		return nil, byHand(traffic.Announcement{}, m.guardPrefix(prefix, a.Widest, false))
	}
	m.wish(Manual, action, &a, prefix, m.widened(prefix, &a))
	all, refused := m.assign(m.wishes)
	if len(all) == 0 && len(refused) > 0 {
		return nil, &refused[0]
	}
	return all, nil
}

// Check says whether an announcement may be made by hand, beside what is in force and was announced by hand before; it takes the place
// of one with its Key. The error is ErrSuspended, or a *Refused: the first guard in the way. When only some of the receivers have no
// place for it, there is none: Desired tells of them.
func Check(a traffic.Announcement, records []traffic.Record, byHand []traffic.Announcement, p Policy, g Guards) error {
	if p.Suspended {
		return ErrSuspended
	}
	if why := newMaker(&p, g).guardSpelled(a); why != nil {
		return why
	}
	others := slices.DeleteFunc(slices.Clone(byHand), func(o traffic.Announcement) bool { return o.Key() == a.Key() })
	desired, refused := Desired(records, append(others, a), p, g)
	for i := range desired {
		if desired[i].Owner == Manual && sameRoute(&desired[i], &a) {
			return nil
		}
	}
	for i := range refused {
		if refused[i].Owner == Manual && refused[i].Route == a.Route() {
			return &refused[i]
		}
	}
	return &Refused{Owner: Manual, Route: a.Route(), Why: NoReceiver, Detail: "nobody is told"}
}

// Withdraw takes what is meant by text out of what was announced by hand: the Key of one announcement, or a prefix or rule as
// traffic.Announcement.Route prints it, which means those to all peers.
func Withdraw(byHand []traffic.Announcement, text string) (withdrawn, kept []traffic.Announcement) {
	for _, a := range byHand {
		if text == a.Key() || text == a.Route() {
			withdrawn = append(withdrawn, a)
		} else {
			kept = append(kept, a)
		}
	}
	return withdrawn, kept
}
