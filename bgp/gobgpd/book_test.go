package gobgpd

import (
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/bgp/gobgpd/gobgppb"
)

// to is a wish for a route with an attribute, "ROUTE=ATTRIBUTE".
func to(text string) wish {
	key, attribute, _ := strings.Cut(text, "=")
	return wish{key: key, name: key, path: &gobgppb.Path{
		Family: &gobgppb.Family{Afi: 1, Safi: 1}, NlriBinary: []byte(key), PattrsBinary: [][]byte{[]byte(attribute)},
	}}
}

func wishes(texts ...string) (all []wish) {
	for _, text := range texts {
		all = append(all, to(text))
	}
	return all
}

func text(j job) string {
	if j.add {
		return "+" + j.key + "=" + string(j.path.GetPattrsBinary()[0])
	}
	return "-" + j.key
}

// requests are all requests that are due, answered by yes, but for those of refused routes.
func requests(b *book, refused string) []string {
	got := []string{}
	for {
		jobs := b.next(3)
		if len(jobs) == 0 {
			return got
		}
		for _, j := range jobs {
			got = append(got, text(j))
			answer := ""
			if j.key == refused {
				answer = "no"
			}
			b.answered(j, answer)
		}
	}
}

func TestBook(t *testing.T) {
	type step struct {
		name    string
		do      func(*book)
		refused string
		want    []string
	}
	apply := func(texts ...string) func(*book) { return func(b *book) { b.apply(wishes(texts...)) } }
	missing := func(keys ...string) func(*book) {
		return func(b *book) {
			b.checked(func(w wish) bool { return !strings.Contains(strings.Join(keys, " "), w.key) })
		}
	}
	none := []string{}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"life of a route", []step{
			{"nothing is said before the first set", func(b *book) { b.adopt(wishes("r=a")) }, "", none},
			{"new", apply("r=a", "q=a"), "", []string{"+r=a", "+q=a"}},
			{"the same", apply("q=a", "r=a"), "", none},
			{"changed", apply("q=a", "r=b"), "", []string{"+r=b"}},
			{"new before gone", apply("s=a", "r=b"), "", []string{"+s=a", "-q"}},
			{"gone", apply(), "", []string{"-r", "-s"}},
			{"came and went between requests", func(b *book) { b.apply(wishes("r=a")); b.apply(nil) }, "", none},
		}},
		{"adopted", []step{
			{"left by an earlier process", func(b *book) { b.adopt(wishes("r=a", "x=a")); b.apply(wishes("r=a")) }, "", []string{"+r=a", "-x"}},
		}},
		{"connection lost", []step{
			{"set", apply("r=a", "s=a"), "", []string{"+r=a", "+s=a"}},
			{"everything again", (*book).lost, "", []string{"+r=a", "+s=a"}},
			{"gone in between", func(b *book) { b.lost(); b.apply(wishes("s=a")) }, "", []string{"-r", "+s=a"}},
			{"forgotten", (*book).lost, "", []string{"+s=a"}},
			{"with an addition on its way that is not wanted any more", func(b *book) {
				b.apply(wishes("s=a", "t=a"))
				b.next(3)
				b.lost()
				b.apply(wishes("s=a"))
			}, "", []string{"+s=a", "-t"}},
		}},
		{"refused", []step{
			{"by gobgpd", apply("r=a", "s=a"), "r", []string{"+r=a", "+s=a"}},
			{"not tried again", apply("r=a", "s=b"), "r", []string{"+s=b"}},
			{"but after a change", apply("r=b", "s=b"), "r", []string{"+r=b"}},
			{"at a check", missing(), "r", []string{"+r=b"}},
			{"with a new connection", (*book).lost, "", []string{"+r=b", "+s=b"}},
			{"and accepted now", missing(), "", none},
		}},
		{"checked", []step{
			{"set", apply("r=a", "s=a"), "", []string{"+r=a", "+s=a"}},
			{"all there", missing(), "", none},
			{"one missing", missing("s"), "", []string{"+s=a"}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBook()
			for _, s := range tt.steps {
				s.do(&b)
				if diff := cmp.Diff(requests(&b, s.refused), s.want); diff != "" {
					t.Fatalf("%s (-got +want)\n%s", s.name, diff)
				}
			}
		})
	}
}

// Requests that go out together are of one kind, and of routes that have no other request under way.
func TestBookTogether(t *testing.T) {
	b := newBook()
	b.apply(wishes("r=a", "s=a"))
	requests(&b, "")
	b.apply(wishes("s=b", "t=a", "u=a", "v=a"))
	var got []string
	first := b.next(3)
	b.apply(wishes("s=c", "u=a", "v=a")) // while the first are under way
	second := b.next(10)
	for _, jobs := range [][]job{first, second} {
		line := ""
		for _, j := range jobs {
			line += text(j) + " "
		}
		got = append(got, line)
	}
	for _, j := range append(first, second...) {
		b.answered(j, "")
	}
	got = append(got, requests(&b, "")...)
	want := []string{"+s=b +t=a +u=a ", "+v=a ", "-r", "+s=c", "-t"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	if n := len(b.routes); n != 3 || b.pending() != 0 {
		t.Errorf("%d routes kept, %d pending; want the 3 that are wanted, none", n, b.pending())
	}
}

// Whatever is wanted, and whenever the connection is lost or gobgpd forgets: in the end gobgpd has what is wanted.
func TestBookAgainstGoBGP(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	b, table := newBook(), map[string]string{}
	obey := func(j job) {
		if j.add {
			table[j.key] = string(j.path.GetPattrsBinary()[0])
		} else {
			delete(table, j.key)
		}
	}
	for round := range 20_000 {
		want := map[string]string{}
		var texts []string
		for _, key := range []string{"r", "s", "t", "u"} {
			if random.IntN(2) == 0 {
				want[key] = string(rune('a' + random.IntN(2)))
				texts = append(texts, key+"="+want[key])
			}
		}
		b.apply(wishes(texts...))
		jobs := b.next(random.IntN(4))
		switch random.IntN(5) {
		case 0: // lost, obeyed or not
			for _, j := range jobs {
				if random.IntN(2) == 0 {
					obey(j)
				}
			}
			b.lost()
			jobs = nil
		case 1: // gobgpd has been restarted
			clear(table)
			b.lost()
			jobs = nil
		case 2: // wanted otherwise while requests are under way
			for _, j := range jobs {
				obey(j)
			}
			b.apply(nil)
			b.apply(wishes(texts...))
		default:
			for _, j := range jobs {
				obey(j)
			}
		}
		for _, j := range jobs {
			b.answered(j, "")
		}
		if random.IntN(3) == 0 {
			continue
		}
		for jobs := b.next(2); len(jobs) > 0; jobs = b.next(2) {
			for _, j := range jobs {
				obey(j)
				b.answered(j, "")
			}
		}
		if !maps.Equal(table, want) || b.pending() != 0 || len(b.routes) != len(want) {
			t.Fatalf("round %d, %d pending, %d known (-got +want)\n%s", round, b.pending(), len(b.routes), cmp.Diff(table, want))
		}
		if len(table) > 0 && random.IntN(4) == 0 { // somebody deletes one
			for key := range table {
				delete(table, key)
				break
			}
			if lost := b.checked(func(w wish) bool { return table[w.key] != "" }); lost != 1 {
				t.Fatalf("round %d: the check has found %d missing, want 1", round, lost)
			}
		}
	}
}
