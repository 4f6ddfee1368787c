package rulelint

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/bgp/flowspec"
	"weir/userspace/traffic"
)

var update = flag.Bool("update", false, "write the .out files anew")

func ours(p netip.Prefix) bool {
	for _, own := range []string{"192.0.2.0/24", "203.0.113.0/24", "2001:db8::/32"} {
		if o := netip.MustParsePrefix(own); o.Bits() <= p.Bits() && o.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

func parse(t testing.TB, text string) traffic.Rule {
	t.Helper()
	r, err := traffic.ParseRule(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

func profile(t testing.TB, name string) Profile {
	t.Helper()
	p, err := ProfileByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestFindings holds testdata/PROFILE.rules, one rule a line, against PROFILE.out: each rule and what speaks against it.
func TestFindings(t *testing.T) {
	for _, p := range Profiles() {
		t.Run(p.Name, func(t *testing.T) {
			path := filepath.Join("testdata", p.Name+".rules")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			for line := range strings.Lines(string(data)) {
				text := strings.TrimSuffix(line, "\n")
				out.WriteString(text + "\n")
				r := parse(t, text)
				findings := Lint(r, p, ours)
				for _, f := range findings {
					out.WriteString("  " + f.String() + "\n")
					if f.Rule != r.String() || f.Reason == "" || f.Remedy == "" || f.Profile != "" && f.Profile != p.Name {
						t.Errorf("got an incomplete finding %+v", f)
					}
				}
				if want := slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Error }); Refused(findings) != want {
					t.Errorf("%s: got refused %v, want %v", text, Refused(findings), want)
				}
			}
			golden := strings.TrimSuffix(path, ".rules") + ".out"
			if *update {
				if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(out.String(), string(want)); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

func TestInvalid(t *testing.T) {
	got := Lint(traffic.Rule{}, profile(t, "flowspec"), ours)
	want := []Finding{{Severity: Error, Rule: "then", Reason: "the rule is not valid: the rule has no condition; for all packets, write destination 0.0.0.0/0 or ::/0", Remedy: "correct it"}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

func TestProfileByName(t *testing.T) {
	_, err := ProfileByName("cisco")
	if err == nil || err.Error() != `unknown router profile "cisco"; expected one of flowspec, xdp, juniper, extreme-slx, frr, gobgp-v3` {
		t.Errorf("got %v", err)
	}
	document, err := os.ReadFile("../../docs/RULES.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range Profiles() {
		if p.Source == "" {
			t.Errorf("profile %s does not say where its limits are from", p.Name)
		}
		if !strings.Contains(string(document), "| `"+p.Name+"` |") {
			t.Errorf("profile %s is not documented", p.Name)
		}
	}
}

func TestLintAll(t *testing.T) {
	same := []traffic.Rule{
		parse(t, "destination 192.0.2.7/32 protocol udp then discard"),
		parse(t, "protocol 17 destination 192.0.2.7/32 then sample"),
	}
	got := LintAll(same, profile(t, "flowspec"), ours)
	want := []Finding{{Severity: Error, Rule: same[1].String(), Remedy: "keep one of the two",
		Reason: `it matches the same as "destination 192.0.2.7/32 protocol udp then discard", and the later announcement would replace the earlier`}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	var many []traffic.Rule
	for i := range 8193 {
		r := same[0]
		r.Lengths = traffic.Terms{{Op: traffic.Equal, Value: 20 + uint32(i)}}
		many = append(many, r)
	}
	if got := LintAll(many[:8192], profile(t, "juniper"), ours); got != nil {
		t.Errorf("got %v", got)
	}
	got = LintAll(many, profile(t, "juniper"), ours)
	want = []Finding{{Severity: Warning, Profile: "juniper", Reason: "8193 rules are more than the 8192 that the fast lookup filter takes; the others are slow", Remedy: "aggregate rules, or blackhole their targets"}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

// The only place where everybody's traffic could be meant is refused whatever our networks are.
func TestEverythingIsRefused(t *testing.T) {
	everything := func(netip.Prefix) bool { return true }
	for _, text := range []string{"destination 0.0.0.0/0", "destination ::/0", "family ipv4 protocol >=0", "source 0.0.0.0/0 length true", "family ipv6 fragment 0x0"} {
		for _, p := range Profiles() {
			if !Refused(Lint(parse(t, text+" then discard"), p, everything)) {
				t.Errorf("%s passes %s", text, p.Name)
			}
		}
	}
	for _, text := range []string{"destination 0.0.0.0/0 protocol udp", "destination ::/0 protocol udp", "destination 192.0.0.0/16 protocol udp", "destination ::1/64-128 protocol udp", "source 192.0.2.0/24"} {
		if !Refused(Lint(parse(t, text+" then discard"), profile(t, "flowspec"), ours)) {
			t.Errorf("%s passes", text)
		}
	}
}

// TestSize holds the sizes that limits are checked with against the encoder's.
func TestSize(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		var list []string
		for range 1 + r.IntN(60) {
			list = append(list, []string{"7", "70", "700", "!=7000", ">=9"}[r.IntN(5)])
		}
		values := strings.Join(list, ",")
		rule := parse(t, []string{
			"destination 192.0.2.0/25 source-port " + values,
			"family ipv4 tcp-flags syn,!0x100,any:0xfff length " + values,
			"destination 2001:db8::/33 flow-label " + values,
			"source ::6/65-127 fragment is-fragment port " + values,
		}[r.IntN(4)]+" then discard")
		route, err := flowspec.Marshal(rule)
		if err != nil {
			t.Fatal(err)
		}
		header := 1
		if route.NLRI[0] >= 0xf0 {
			header = 2
		}
		if got := size(&rule); got != len(route.NLRI)-header {
			t.Errorf("%s: got %d, the encoder takes %d", rule, got, len(route.NLRI)-header)
		}
	}
}

func TestJSON(t *testing.T) {
	got, err := json.Marshal(Lint(parse(t, "destination 192.0.2.7/32 then discard"), profile(t, "flowspec"), ours))
	want := `[{"severity":"warning","rule":"destination 192.0.2.7/32 then discard","reason":"it stops everything to 192.0.2.7/32, as a blackhole would","remedy":"add what the attack looks like (protocol, ports, length), or use a blackhole","profile":""}]`
	if diff := cmp.Diff(string(got), want); diff != "" || err != nil {
		t.Errorf("%v (-got +want)\n%s", err, diff)
	}
}
