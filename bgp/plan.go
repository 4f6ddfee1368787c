package bgp

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// table decides which peer is told what, and remembers it. It does no I/O. One goroutine uses it.
type table struct {
	peers    []Peer
	cache    map[string]*planned // by the announcement's key
	order    []*planned          // the announcements last planned, in their order, each key once
	held     []map[string]*entry // by peer: what it has been told, by route ID
	refused  []map[Family]int    // by peer: over its maximum
	sequence uint64              // of the last operation
	waiting  []map[string]uint64 // by peer: operations not yet confirmed, by route ID
}

// planned is an announcement with its route, and what has come of it.
type planned struct {
	key          string
	announcement traffic.Announcement
	route        *route
	err          error          // why there is no route
	errors       map[int]string // by peer: why it is not told
}

// entry is a route at a peer.
type entry struct {
	owner *planned
	route *route
	since time.Time // when the child confirmed it; zero: not yet
	err   string    // why the child could not
}

// operation is one change of a peer's table.
type operation struct {
	Sequence uint64
	Peer     int    // index in the configuration
	Route    *route // to announce, in place of one of the same ID; nil: Withdraw
	Withdraw string // ID of the route
}

// id is the ID of the route that the operation is about.
func (o *operation) id() string {
	if o.Route != nil {
		return o.Route.ID
	}
	return o.Withdraw
}

func newTable(peers []Peer) *table {
	t := &table{peers: peers, cache: map[string]*planned{}}
	t.forget()
	return t
}

// forget is for a child that has just been started: it knows nothing.
func (t *table) forget() {
	t.held = make([]map[string]*entry, len(t.peers))
	t.waiting = make([]map[string]uint64, len(t.peers))
	t.refused = make([]map[Family]int, len(t.peers))
	for i := range t.peers {
		t.held[i], t.waiting[i], t.refused[i] = map[string]*entry{}, map[string]uint64{}, map[Family]int{}
	}
}

// update makes the announcements the wanted ones and returns what must be done to get there. What is announced comes before what
// is withdrawn, so that a prefix that takes the place of others leaves no gap; at a peer that would then be over its maximum it
// is the other way round.
func (t *table) update(wanted []traffic.Announcement) []operation {
	t.plan(wanted)
	var all []operation
	for i := range t.peers {
		chosen, byID := t.choose(i)
		var announce, withdraw []operation
		for _, id := range chosen {
			next, now := byID[id], t.held[i][id]
			if now != nil && reflect.DeepEqual(now.route, next.route) {
				now.owner, now.route = next, next.route // equal: the next comparison is of pointers
				continue
			}
			t.held[i][id] = &entry{owner: next, route: next.route}
			announce = append(announce, operation{Peer: i, Route: next.route})
		}
		keep := make(map[string]bool, len(chosen))
		for _, id := range chosen {
			keep[id] = true
		}
		over := t.over(i)
		for id := range t.held[i] {
			if !keep[id] {
				delete(t.held[i], id)
				withdraw = append(withdraw, operation{Peer: i, Withdraw: id})
			}
		}
		slices.SortFunc(withdraw, func(a, b operation) int { return compare(a.Withdraw, b.Withdraw) })
		first, second := announce, withdraw
		if over {
			first, second = withdraw, announce
		}
		for _, o := range slices.Concat(first, second) {
			t.sequence++
			o.Sequence = t.sequence
			t.waiting[i][o.id()] = o.Sequence
			all = append(all, o)
		}
	}
	return all
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// over reports whether a peer holds more routes of a family, withdrawn ones included, than it is allowed.
func (t *table) over(peer int) bool {
	counts := map[Family]int{}
	for _, e := range t.held[peer] {
		counts[e.route.Family]++
	}
	for f, n := range counts {
		if most := t.peers[peer].MaxRoutes[f]; most > 0 && n > most {
			return true
		}
	}
	return false
}

// plan makes the routes. Of two announcements with one key the later one counts, at the place of the first.
func (t *table) plan(wanted []traffic.Announcement) {
	cache, order := make(map[string]*planned, len(wanted)), make([]*planned, 0, len(wanted))
	places := make(map[string]int, len(wanted))
	for i := range wanted {
		a := &wanted[i]
		key := a.Key()
		p := t.cache[key]
		if p == nil || !reflect.DeepEqual(&p.announcement, a) {
			p = &planned{key: key, announcement: *a}
			p.route, p.err = newRoute(a)
		}
		p.errors = nil
		if at, again := places[key]; again {
			order[at] = p
		} else {
			places[key] = len(order)
			order = append(order, p)
		}
		cache[key] = p
	}
	t.cache, t.order = cache, order
}

// choose returns the route IDs that a peer is to have, in the order of the announcements, and each one's announcement.
func (t *table) choose(peer int) (chosen []string, byID map[string]*planned) {
	p := &t.peers[peer]
	var ids []string
	byID = map[string]*planned{}
	for _, a := range t.order {
		named := slices.Contains(a.announcement.Peers, p.Name)
		if a.err != nil || !named && len(a.announcement.Peers) > 0 {
			continue
		}
		if !slices.Contains(p.Families, a.route.Family) {
			if named {
				a.fail(peer, fmt.Sprintf("the peer is not configured for %s", a.route.Family))
			}
			continue
		}
		other := byID[a.route.ID]
		switch {
		case other == nil:
			ids = append(ids, a.route.ID)
		case len(other.announcement.Peers) > 0 && !named:
			a.fail(peer, "another announcement of the same is for this peer in particular")
			continue
		default:
			other.fail(peer, "another announcement of the same takes its place")
		}
		byID[a.route.ID] = a
	}
	return t.limit(peer, ids, byID), byID
}

// limit holds a peer to its maximum. Who has been announced stays; the others come in the order of the announcements.
func (t *table) limit(peer int, ids []string, byID map[string]*planned) []string {
	p := &t.peers[peer]
	clear(t.refused[peer])
	room := map[Family]int{}
	for f, most := range p.MaxRoutes {
		room[f] = most
	}
	for _, id := range ids {
		if t.held[peer][id] != nil {
			room[byID[id].route.Family]--
		}
	}
	return slices.DeleteFunc(ids, func(id string) bool {
		f := byID[id].route.Family
		if p.MaxRoutes[f] == 0 || t.held[peer][id] != nil {
			return false
		}
		if room[f]--; room[f] >= 0 {
			return false
		}
		t.refused[peer][f]++
		byID[id].fail(peer, fmt.Sprintf("over the maximum of %d routes of %s", p.MaxRoutes[f], f))
		return true
	})
}

func (a *planned) fail(peer int, why string) {
	if a.errors == nil {
		a.errors = map[int]string{}
	}
	a.errors[peer] = why
}

// confirm notes that the child has done a peer's operations up to a sequence number, and which of them it could not.
func (t *table) confirm(now time.Time, peer int, sequence uint64, rejected []rejection) {
	for _, r := range rejected {
		if e := t.held[peer][r.ID]; e != nil && t.waiting[peer][r.ID] == r.Sequence {
			e.err = r.Why
		}
	}
	for id, s := range t.waiting[peer] {
		if s > sequence {
			continue
		}
		delete(t.waiting[peer], id)
		if e := t.held[peer][id]; e != nil {
			e.since = now
		}
	}
}

// counts returns how many routes a peer has by family.
func (t *table) counts(peer int) map[Family]int {
	n := map[Family]int{}
	for _, e := range t.held[peer] {
		n[e.route.Family]++
	}
	return n
}

// routes returns what has become of every announcement. established says since when each peer's session is up, and with which
// families; nothing has reached a peer before.
func (t *table) routes(sessions []PeerState) []RouteState {
	all := make([]RouteState, 0, len(t.order))
	for _, a := range t.order {
		s := RouteState{Key: a.key, Family: Family(a.announcement.Family()), Owner: a.announcement.Owner}
		if s.Route = a.announcement.Route(); a.err != nil {
			s.Error = a.err.Error()
		}
		for i := range t.peers {
			if r, told := t.routePeer(a, i, sessions); told {
				s.Peers = append(s.Peers, r)
			}
		}
		for _, name := range a.announcement.Peers {
			if !slices.ContainsFunc(t.peers, func(p Peer) bool { return p.Name == name }) {
				s.Peers = append(s.Peers, RoutePeer{Name: name, Error: "no peer has this name"})
			}
		}
		all = append(all, s)
	}
	return all
}

// routePeer reports false for a peer that has nothing to do with the announcement.
func (t *table) routePeer(a *planned, peer int, sessions []PeerState) (RoutePeer, bool) {
	r := RoutePeer{Name: t.peers[peer].Name, Error: a.errors[peer]}
	if a.route == nil {
		return r, false
	}
	e := t.held[peer][a.route.ID]
	if e == nil || e.owner != a {
		return r, r.Error != ""
	}
	switch s := &sessions[peer]; {
	case e.err != "":
		r.Error = e.err
	case s.Session != Established:
		r.Error = "the session is not up"
	case !slices.Contains(s.Families, a.route.Family):
		r.Error = fmt.Sprintf("the peer does not speak %s", a.route.Family)
	case e.since.IsZero():
	case e.since.After(s.Since):
		r.Since = e.since
	default:
		r.Since = s.Since
	}
	return r, true
}
