package gobgpd

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"weir/bgp/gobgpd/gobgppb"
)

// wish is what gobgpd shall hold of one prefix or rule.
type wish struct {
	key  string // family and NLRI
	name string // Announcement.Key
	path *gobgppb.Path
	// prefix is what is announced; of a rule it is not valid.
	prefix netip.Prefix
}

// route is one prefix or rule.
type route struct {
	wish         // the latest; not wanted when the book's wanted does not have the route
	wanted  bool // it is to be there
	there   bool // it may be there
	sure    bool // it is there as it is wanted
	queued  bool
	asked   bool   // a request is on its way
	refused string // why gobgpd has refused what was last asked for
}

// job is one request: to add a path, or to delete it.
type job struct {
	wish
	add bool
}

// book knows what is wanted and what gobgpd has acknowledged. It is pure: requests come out, answers go in.
type book struct {
	routes  map[string]*route
	wanted  map[string]*route
	applied bool     // before, nothing is known to be unwanted
	adopted []*route // until something is applied
	due     []*route // in line for a request, each once
}

func newBook() book { return book{routes: map[string]*route{}, wanted: map[string]*route{}} }

// adopt notes what may be there without being wanted.
func (b *book) adopt(wishes []wish) {
	for _, w := range wishes {
		if b.routes[w.key] == nil {
			r := &route{wish: w, there: true}
			b.routes[w.key] = r
			b.adopted = append(b.adopted, r)
		}
	}
}

// apply replaces what is wanted. Additions come in the order of the wishes, and before deletions: a covering prefix stands before the
// hosts that it replaces go.
func (b *book) apply(wishes []wish) {
	b.applied = true
	before := b.wanted
	b.wanted = make(map[string]*route, len(wishes))
	for _, w := range wishes {
		r := b.routes[w.key]
		if r == nil {
			r = &route{}
			b.routes[w.key] = r
		}
		if !r.wanted || !proto.Equal(r.path, w.path) {
			r.sure, r.refused = false, ""
		}
		r.wish, r.wanted = w, true
		b.wanted[w.key] = r
		delete(before, w.key)
		b.push(r)
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		r := before[key]
		r.wanted, r.sure, r.refused = false, false, ""
		b.push(r)
	}
	for _, r := range b.adopted {
		b.push(r)
	}
	b.adopted = nil
}

// open reports whether a route needs a request, whether it waits for one or not.
func (r *route) open() bool {
	if r.wanted {
		return !r.sure
	}
	return r.there
}

func (b *book) push(r *route) {
	switch {
	case !r.open() && !r.wanted && !r.queued && !r.asked:
		delete(b.routes, r.key)
	case r.open() && !r.queued && !r.asked && r.refused == "":
		r.queued = true
		b.due = append(b.due, r)
	}
}

// next returns up to limit requests of one kind, which may go out together.
func (b *book) next(limit int) []job {
	var jobs []job
	for b.applied && len(b.due) > 0 && len(jobs) < limit {
		r := b.due[0]
		if r.open() {
			if len(jobs) > 0 && jobs[0].add != r.wanted {
				break
			}
			jobs = append(jobs, job{r.wish, r.wanted})
			r.asked, r.there = true, true // it may be there from now on
		}
		b.due = b.due[1:]
		r.queued = false
		b.push(r)
	}
	return jobs
}

// answered notes what gobgpd said to a request; refused is empty if it did as it was told.
func (b *book) answered(j job, refused string) {
	r := b.routes[j.key]
	if r == nil {
		return
	}
	r.asked = false
	same := r.wanted == j.add && proto.Equal(r.path, j.path) // nothing else has been wanted since
	switch {
	case refused != "" && same:
		r.refused = refused
	case refused != "":
	case j.add:
		r.sure = same
	default:
		r.there = false
	}
	b.push(r)
}

// lost is for a connection that has ended: gobgpd may have nothing any more, or all of it and what was on its way.
func (b *book) lost() {
	for _, r := range b.sorted() {
		r.asked, r.sure, r.refused = false, false, ""
		b.push(r)
	}
}

// checked takes what gobgpd has, by key. What should be there and is not is asked for again, and so is what gobgpd has refused. It
// returns how many had been lost.
func (b *book) checked(has func(wish) bool) (lost uint64) {
	for _, r := range b.sorted() {
		r.refused = ""
		if r.wanted && r.sure && !has(r.wish) {
			r.sure = false
			lost++
		}
		b.push(r)
	}
	return lost
}

// sorted returns all routes, wanted ones first.
func (b *book) sorted() []*route {
	return slices.SortedFunc(maps.Values(b.routes), func(x, y *route) int {
		if x.wanted != y.wanted {
			if x.wanted {
				return -1
			}
			return 1
		}
		return strings.Compare(x.key, y.key)
	})
}

// refusals are what gobgpd has refused.
func (b *book) refusals() []Refused {
	var all []Refused
	for _, r := range b.sorted() {
		if r.refused != "" {
			all = append(all, Refused{Key: r.name, Reason: r.refused})
		}
	}
	return all
}

// pending is how many routes are not yet as wanted, the refused ones included.
func (b *book) pending() int {
	n := 0
	for _, r := range b.routes {
		if r.open() {
			n++
		}
	}
	return n
}

// familyPaths is one family of what is wanted, and its prefixes; flow specifications have none.
type familyPaths struct {
	family   *gobgppb.Family
	prefixes []string
}

// families returns what is wanted by family.
func (b *book) families() []familyPaths {
	var all []familyPaths
	for _, r := range b.sorted() {
		if !r.wanted {
			break
		}
		i := slices.IndexFunc(all, func(f familyPaths) bool { return proto.Equal(f.family, r.path.GetFamily()) })
		if i < 0 {
			i = len(all)
			all = append(all, familyPaths{family: r.path.GetFamily()})
		}
		if r.prefix.IsValid() {
			all[i].prefixes = append(all[i].prefixes, r.prefix.String())
		}
	}
	return all
}
