package announce

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// TestLadder: a rung of a ladder announces what it names and nothing else of its hostgroup, and an action that asks for them announces the rules
// that were found against the attack.
func TestLadder(t *testing.T) {
	p := basic(t, action("filter", func(a *Action) { a.Found = true }))
	on := func(actions ...string) func(*traffic.Record) {
		return func(r *traffic.Record) {
			r.Ban.Response = &traffic.Response{Rung: 1, Rungs: 2, Announce: actions}
			r.Attack.Analysis = &traffic.Analysis{Router: traffic.RuleSet{Rules: []traffic.MeasuredRule{
				{Rule: "destination 192.0.2.1/32 protocol udp source-port 123 then discard"}, {Rule: "of another version"},
			}}}
		}
	}
	for _, tt := range []struct {
		name    string
		actions []string
		want    []string
	}{
		{"a rung that announces nothing", nil, nil},
		{"a blackhole", []string{"rtbh"}, []string{"192.0.2.1/32"}},
		{"rules", []string{"filter"}, []string{
			"destination 192.0.2.1/32 protocol udp then discard", "destination 192.0.2.1/32 protocol icmp then rate-bytes 1000000",
			"destination 192.0.2.1/32 protocol udp source-port 123 then discard",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, refused := Desired([]traffic.Record{ban("192.0.2.1/32", group("web"), on(tt.actions...))}, nil, p, guardsOf(prefixes("192.0.2.0/24"), nil))
			var got []string
			for _, a := range set {
				got = append(got, a.Route())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || len(refused) > 0 {
				t.Errorf("refused %v (-want +got)\n%s", refused, diff)
			}
		})
	}
}
