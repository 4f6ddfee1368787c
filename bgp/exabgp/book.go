package exabgp

import (
	"maps"
	"slices"
	"strings"
)

// everybody is the target of lines without a neighbor.
const everybody = ""

// remembered is how many withdrawn routes are kept, the latest, to be withdrawn again from a reader that may have missed it.
const remembered = 4096

// statement is how ExaBGP is told of one announcement to one target, and how it is taken back: lines without their end.
type statement struct{ announce, withdraw string }

// wish is what ExaBGP shall hold of one prefix or rule, by target: everybody or a neighbor's address.
type wish struct {
	key     string
	targets map[string]statement
}

// route is one prefix or rule.
type route struct {
	key  string
	want map[string]statement // by target
	// held is what ExaBGP may have; where announce is empty that is not certain, and the line is due.
	held map[string]statement
	past map[string]statement // withdrawn lately
	in   place
	// buried is the serial number of its burial among the withdrawn, 0 for none.
	buried uint64
}

type place uint8

const (
	idle   place = iota
	later        // in line behind changes
	urgent       // a change
)

// book knows what is wanted and what has been written. It is pure: lines come out, and no time goes in.
type book struct {
	routes  map[string]*route
	wanted  map[string]*route // those with a target
	applied bool              // before, nothing is known to be unwanted
	// Queues of routes with due lines. A route that became urgent leaves its place among the later ones void.
	urgent, later []*route
	graves        []grave
	burials       uint64
}

type grave struct {
	key    string
	serial uint64
}

func newBook() book { return book{routes: map[string]*route{}, wanted: map[string]*route{}} }

func (b *book) route(key string) *route {
	r := b.routes[key]
	if r == nil {
		r = &route{key: key, held: map[string]statement{}, past: map[string]statement{}}
		b.routes[key] = r
	}
	return r
}

// adopt notes what may be held without being wanted.
func (b *book) adopt(wishes []wish) {
	for _, w := range wishes {
		r := b.route(w.key)
		for target, s := range w.targets {
			if _, known := r.held[target]; !known {
				r.held[target] = statement{withdraw: s.withdraw}
			}
		}
		b.push(r, later)
	}
}

// apply replaces what is wanted. New lines go out in the order of the wishes, and before withdrawals: a covering prefix stands
// before the hosts that it replaces go.
func (b *book) apply(wishes []wish) {
	b.applied = true
	before := b.wanted
	b.wanted = make(map[string]*route, len(wishes))
	for _, w := range wishes {
		r := b.route(w.key)
		b.wanted[w.key] = r
		delete(before, w.key)
		if !maps.Equal(r.want, w.targets) {
			r.want = w.targets
			b.push(r, urgent)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		before[key].want = nil
		b.push(before[key], urgent)
	}
}

func (b *book) push(r *route, to place) {
	if r.in >= to {
		return
	}
	r.in = to
	if to == urgent {
		b.urgent = append(b.urgent, r)
	} else {
		b.later = append(b.later, r)
	}
}

// head returns the route whose line is next.
func (b *book) head() *route {
	if len(b.urgent) > 0 {
		return b.urgent[0]
	}
	for len(b.later) > 0 && b.later[0].in != later {
		b.later = b.later[1:]
	}
	if len(b.later) > 0 {
		return b.later[0]
	}
	return nil
}

func (b *book) pop(r *route) {
	if r.in == urgent {
		b.urgent = b.urgent[1:]
	} else {
		b.later = b.later[1:]
	}
	r.in = idle
	if len(r.want) == 0 {
		b.bury(r)
	}
}

// bury keeps the latest withdrawn routes and forgets older ones.
func (b *book) bury(r *route) {
	b.burials++
	r.buried = b.burials
	b.graves = append(b.graves, grave{r.key, r.buried})
	if len(b.graves) <= remembered {
		return
	}
	oldest := b.graves[0]
	b.graves = b.graves[1:]
	if r := b.routes[oldest.key]; r != nil && r.buried == oldest.serial && len(r.want) == 0 && r.in == idle {
		delete(b.routes, oldest.key)
	}
}

// pending counts the routes with due lines.
func (b *book) pending() int {
	n := len(b.urgent)
	for _, r := range b.later {
		if r.in == later {
			n++
		}
	}
	return n
}

// next returns the next lines, of at most limit bytes together, and how many of each kind. From then on they count as written.
// A single line is never longer: see Options.statements.
func (b *book) next(limit int) (lines []byte, announced, withdrawn uint64) {
	for b.applied {
		r := b.head()
		if r == nil {
			break
		}
		line, target, announces := r.due()
		if line == "" {
			b.pop(r)
			continue
		}
		if len(lines)+len(line)+1 > limit {
			break
		}
		lines = append(append(lines, line...), '\n')
		if announces {
			r.announced(target)
			announced++
		} else {
			r.withdrawn(target)
			withdrawn++
		}
	}
	return lines, announced, withdrawn
}

// due returns the route's next line, empty when there is none. What is for everybody comes before what differs from it.
func (r *route) due() (line, target string, announces bool) {
	all, wantAll := r.want[everybody]
	if held, heldAll := r.held[everybody]; heldAll && !wantAll {
		return held.withdraw, everybody, false
	}
	for _, target := range slices.Sorted(maps.Keys(r.held)) {
		if _, wanted := r.want[target]; wanted {
			continue
		}
		if wantAll {
			return all.announce, everybody, true // replaces the neighbor's own
		}
		return r.held[target].withdraw, target, false
	}
	for _, target := range slices.Sorted(maps.Keys(r.want)) {
		if s := r.want[target]; r.held[target].announce != s.announce {
			return s.announce, target, true
		}
	}
	return "", "", false
}

func (r *route) announced(target string) {
	if target == everybody { // it has replaced what neighbors had of their own
		clear(r.past)
		for other, s := range r.held {
			if _, wanted := r.want[other]; wanted {
				r.held[other] = statement{withdraw: s.withdraw}
			} else {
				delete(r.held, other)
			}
		}
	}
	delete(r.past, target)
	r.held[target] = r.want[target]
}

func (r *route) withdrawn(target string) {
	r.past[target] = r.held[target]
	delete(r.held, target)
	if target == everybody { // neighbors have lost theirs with it
		r.doubt()
	}
}

// doubt makes all of the route's lines due again.
func (r *route) doubt() {
	for target, s := range r.held {
		r.held[target] = statement{withdraw: s.withdraw}
	}
}

// lost is for a reader that has gone: the next one may know nothing, or all of it, but for the lines that were on their way.
func (b *book) lost() {
	b.each(func(r *route) {
		r.doubt()
		for target, s := range r.past {
			r.held[target] = statement{withdraw: s.withdraw}
		}
		clear(r.past)
	})
}

// refresh makes all wanted lines due again.
func (b *book) refresh() {
	b.each(func(r *route) {
		if len(r.want) > 0 {
			r.doubt()
		}
	})
}

// each calls f with every route, and queues those with due lines, wanted ones first.
func (b *book) each(f func(*route)) {
	keys := slices.SortedFunc(maps.Keys(b.routes), func(x, y string) int {
		if x, y := len(b.routes[x].want) > 0, len(b.routes[y].want) > 0; x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(x, y)
	})
	for _, key := range keys {
		r := b.routes[key]
		f(r)
		if line, _, _ := r.due(); line != "" {
			b.push(r, later)
		}
	}
}
