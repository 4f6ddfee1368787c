package exabgp

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// to is a wish with lines that say what they are: "+ATTRIBUTE ROUTE", and "+ATTRIBUTE ROUTE @TARGET" for one neighbor.
func to(key string, attributeByTarget ...string) wish {
	w := wish{key: key, targets: map[string]statement{}}
	for i := 0; i < len(attributeByTarget); i += 2 {
		target, attribute := attributeByTarget[i], attributeByTarget[i+1]
		suffix := ""
		if target != everybody {
			suffix = " @" + target
		}
		w.targets[target] = statement{announce: "+" + attribute + " " + key + suffix, withdraw: "- " + key + suffix}
	}
	return w
}

func lines(b *book) []string {
	text, _, _ := b.next(1 << 20)
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func TestBook(t *testing.T) {
	type step struct {
		name string
		do   func(*book)
		want []string
	}
	apply := func(wishes ...wish) func(*book) { return func(b *book) { b.apply(wishes) } }
	none := []string{""}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"life of a route", []step{
			{"nothing is said before the first set", func(b *book) { b.adopt([]wish{to("r", "", "a")}) }, none},
			{"new", apply(to("r", "", "a"), to("q", "", "a")), []string{"+a r", "+a q"}},
			{"the same", apply(to("q", "", "a"), to("r", "", "a")), none},
			{"changed", apply(to("q", "", "a"), to("r", "", "b")), []string{"+b r"}},
			{"new before gone", apply(to("s", "", "a"), to("r", "", "b")), []string{"+a s", "- q"}},
			{"gone", apply(), []string{"- r", "- s"}},
		}},
		{"never written", []step{
			{"came and went between writings", func(b *book) { b.apply([]wish{to("r", "", "a")}); b.apply(nil) }, none},
			{"changed between writings", func(b *book) { b.apply([]wish{to("r", "", "a")}); b.apply([]wish{to("r", "", "b")}) }, []string{"+b r"}},
			{"went and came back", func(b *book) { b.apply(nil); b.apply([]wish{to("r", "", "b")}) }, none},
		}},
		{"neighbors", []step{
			{"two", apply(to("r", "1", "a", "2", "a")), []string{"+a r @1", "+a r @2"}},
			{"one changes", apply(to("r", "1", "a", "2", "b")), []string{"+b r @2"}},
			{"one goes", apply(to("r", "2", "b")), []string{"- r @1"}},
			{"everybody instead", apply(to("r", "", "c")), []string{"+c r"}},
			{"and one that differs", apply(to("r", "", "c", "1", "a")), []string{"+c r", "+a r @1"}[1:]},
			{"everybody changes, which replaces the one that differs", apply(to("r", "", "d", "1", "a")), []string{"+d r", "+a r @1"}},
			{"no difference any more", apply(to("r", "", "d")), []string{"+d r"}},
			{"one only", apply(to("r", "1", "a")), []string{"- r", "+a r @1"}},
			{"everybody beside it", apply(to("r", "", "d", "1", "a")), []string{"+d r", "+a r @1"}},
			{"without everybody", apply(to("r", "1", "a")), []string{"- r", "+a r @1"}},
			{"none", apply(), []string{"- r @1"}},
		}},
		{"reader lost", []step{
			{"set", apply(to("r", "", "a"), to("s", "1", "a"), to("x", "", "a")), []string{"+a r", "+a s @1", "+a x"}},
			{"gone", apply(to("r", "", "a"), to("s", "1", "a")), []string{"- x"}},
			{"whole set, and what the reader may have missed", (*book).lost, []string{"+a r", "+a s @1", "- x"}},
			{"lost before it is written", func(b *book) { b.lost(); b.lost() }, []string{"+a r", "+a s @1", "- x"}},
			{"changes go first", func(b *book) { b.lost(); b.apply([]wish{to("s", "1", "b"), to("r", "", "a")}) }, []string{"+b s @1", "+a r", "- x"}},
			{"wanted again", apply(to("r", "", "a"), to("s", "1", "b"), to("x", "", "a")), []string{"+a x"}},
			{"then there is nothing to take back", (*book).lost, []string{"+a r", "+b s @1", "+a x"}},
			{"withdrawn while there is no reader", func(b *book) { b.lost(); b.apply(nil) }, []string{"- r", "- s @1", "- x"}},
		}},
		{"adopted", []step{
			{"left by an earlier process", func(b *book) {
				b.adopt([]wish{to("r", "", "a"), to("x", "", "a"), to("y", "1", "a")})
				b.apply([]wish{to("r", "", "a")})
			}, []string{"+a r", "- x", "- y @1"}},
		}},
		{"refreshed", []step{
			{"set", apply(to("r", "", "a"), to("s", "1", "a"), to("x", "", "a")), []string{"+a r", "+a s @1", "+a x"}},
			{"gone", apply(to("r", "", "a"), to("s", "1", "a")), []string{"- x"}},
			{"what is wanted", (*book).refresh, []string{"+a r", "+a s @1"}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBook()
			for _, s := range tt.steps {
				s.do(&b)
				if diff := cmp.Diff(lines(&b), s.want); diff != "" {
					t.Fatalf("%s (-got +want)\n%s", s.name, diff)
				}
				if n := b.pending(); n != 0 && b.applied {
					t.Fatalf("%s: %d pending after everything was written", s.name, n)
				}
			}
		})
	}
}

func TestBookPieces(t *testing.T) {
	b := newBook()
	b.apply([]wish{to("r", "", "a"), to("s", "", "a"), to("t", "", "a")})
	var got []string
	for range 3 {
		text, announced, withdrawn := b.next(len("+a r\n+a s\n") + 1)
		got = append(got, fmt.Sprintf("%q %d %d, %d pending", text, announced, withdrawn, b.pending()))
	}
	want := []string{`"+a r\n+a s\n" 2 0, 1 pending`, `"+a t\n" 1 0, 0 pending`, `"" 0 0, 0 pending`}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

func TestBookForgets(t *testing.T) {
	b := newBook()
	for i := range 3 * remembered {
		b.apply([]wish{to(fmt.Sprint(i), "", "a")})
		lines(&b)
	}
	if n := len(b.routes); n > remembered+1 {
		t.Errorf("%d routes are kept, want no more than %d", n, remembered+1)
	}
	if n := len(b.graves); n > remembered {
		t.Errorf("%d graves are kept, want no more than %d", n, remembered)
	}
}

// reader obeys lines as ExaBGP does for its neighbors 1 and 2.
type reader map[string]string // by "ROUTE @TARGET"

func (r reader) obey(line string) {
	words := strings.Fields(line)
	key, targets := words[1], []string{"@1", "@2"}
	if len(words) == 3 {
		targets = words[2:]
	}
	for _, target := range targets {
		if words[0] == "-" {
			delete(r, key+target)
		} else {
			r[key+target] = words[0]
		}
	}
}

// Whatever is wanted one after the other, and whenever readers are lost with lines on their way: once everything is written, the
// reader has what is wanted.
func TestBookAgainstReader(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	b, exabgp := newBook(), reader{}
	for round := range 2_000 {
		var wishes []wish
		want := reader{}
		for _, key := range []string{"r", "s", "t"} {
			var pairs []string
			for _, target := range []string{"", "1", "2"} {
				if random.IntN(3) == 0 {
					attribute := string(rune('a' + random.IntN(2)))
					pairs = append(pairs, target, attribute)
					suffix := ""
					if target != "" {
						suffix = " @" + target
					}
					want.obey("+" + attribute + " " + key + suffix)
				}
			}
			if len(pairs) > 0 {
				wishes = append(wishes, to(key, pairs...))
			}
		}
		b.apply(wishes)
		switch random.IntN(6) {
		case 0: // partly written
			text, _, _ := b.next(random.IntN(40))
			for line := range strings.Lines(string(text)) {
				exabgp.obey(line)
			}
			continue
		case 1: // lost on the way, by a reader whose ExaBGP lives on
			b.next(random.IntN(40))
			b.lost()
			continue
		case 2: // lost with ExaBGP
			b.next(random.IntN(40))
			b.lost()
			clear(exabgp)
			continue
		case 3:
			b.refresh()
		}
		for _, line := range lines(&b) {
			if line != "" {
				exabgp.obey(line)
			}
		}
		if !maps.Equal(exabgp, want) {
			t.Fatalf("round %d (-got +want)\n%s", round, cmp.Diff(exabgp, want))
		}
	}
}
