package loader

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
)

func TestCheckInterfaces(t *testing.T) {
	for _, test := range []struct {
		name string
		list []Interface
		want []string // parts of the error's lines; none: no error
	}{
		{name: "none"},
		{name: "host with egress", list: []Interface{{Name: "eth0", Egress: true}}},
		{name: "wire", list: []Interface{{Name: "a", Role: Wire, Pair: "b"}, {Name: "b", Role: Wire, Pair: "a", Mode: Native}}},
		{name: "no name", list: []Interface{{}}, want: []string{"has no name"}},
		{name: "long name", list: []Interface{{Name: "abcdefghijklmnop"}}, want: []string{"16 bytes; the kernel's limit is 15"}},
		{name: "slash", list: []Interface{{Name: "a/b"}}, want: []string{`"a/b": not a name`}},
		{name: "newline", list: []Interface{{Name: "a\nb"}}, want: []string{`"a\nb": not a name`}},
		{name: "unknown mode", list: []Interface{{Name: "a", Mode: 9}}, want: []string{"unknown mode(9)"}},
		{name: "unknown role", list: []Interface{{Name: "a", Role: 9}}, want: []string{"unknown role(9)"}},
		{name: "twice", list: []Interface{{Name: "a"}, {Name: "a"}}, want: []string{"listed twice"}},
		{name: "wire without pair", list: []Interface{{Name: "a", Role: Wire}}, want: []string{"set pair"}},
		{name: "own pair", list: []Interface{{Name: "a", Role: Wire, Pair: "a"}}, want: []string{"its own pair"}},
		{name: "pair of a host", list: []Interface{{Name: "a", Pair: "b"}}, want: []string{"role host has no pair"}},
		{name: "egress of a mirror", list: []Interface{{Name: "a", Role: Mirror, Egress: true}}, want: []string{"goes with role host, not mirror"}},
		{name: "pair not listed", list: []Interface{{Name: "a", Role: Wire, Pair: "b"}}, want: []string{`pair "b" is not listed`}},
		{
			name: "pair of another",
			list: []Interface{{Name: "a", Role: Wire, Pair: "b"}, {Name: "b", Role: Wire, Pair: "c"}, {Name: "c", Role: Wire, Pair: "b"}},
			want: []string{`"b" must have role wire and pair "a"`},
		},
		{
			name: "pair with another mode",
			list: []Interface{{Name: "a", Role: Wire, Pair: "b", Mode: Native}, {Name: "b", Role: Wire, Pair: "a", Mode: Generic}},
			want: []string{"mode native, but its pair", "mode generic, but its pair"},
		},
		{name: "all errors at once", list: []Interface{{}, {Name: "a/b"}}, want: []string{"no name", "not a name"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var lines []string
			if err := checkInterfaces(test.list); err != nil {
				lines = strings.Split(err.Error(), "\n")
			}
			if len(lines) != len(test.want) {
				t.Fatalf("got %d errors, want %d: %q", len(lines), len(test.want), lines)
			}
			for n, part := range test.want {
				if !strings.Contains(lines[n], part) {
					t.Errorf("error %q does not contain %q", lines[n], part)
				}
			}
		})
	}
}

func TestNames(t *testing.T) {
	for m := range modeCount {
		if got, err := ParseMode(m.String()); err != nil || got != m {
			t.Errorf("mode %v came back as %v, %v", m, got, err)
		}
	}
	for r := range roleCount {
		if got, err := ParseRole(r.String()); err != nil || got != r {
			t.Errorf("role %v came back as %v, %v", r, got, err)
		}
	}
	if _, err := ParseMode("fast"); err == nil {
		t.Error("mode fast exists")
	}
	if _, err := ParseRole("bridge"); err == nil {
		t.Error("role bridge exists")
	}
}

func TestPinName(t *testing.T) {
	got := []string{pinName("link_", "eth0"), pinName("link_", "eth0.100"), pinName("link_", "eth0%2e100")}
	want := []string{"link_eth0", "link_eth0%2e100", "link_eth0%252e100"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("pin names (-got +want):\n%s", diff)
	}
	for _, name := range []string{"eth0", "eth0.100", "eth0%2e100", "%", "%25"} {
		if got, ours := pinOwner("link_", pinName("link_", name)); got != name || !ours {
			t.Errorf("pin of %q came back as %q, %v", name, got, ours)
		}
	}
	if _, ours := pinOwner("link_", "egress_eth0"); ours {
		t.Error("egress_eth0 is taken for an XDP link")
	}
}

func TestNewAttacherChecks(t *testing.T) {
	xdp := func(Role) (*ebpf.Program, error) { return nil, nil }
	for _, test := range []struct {
		name string
		set  ProgramSet
		opts AttachOptions
		list []Interface
		want string
	}{
		{name: "no program", want: "no XDP program"},
		{name: "keep without pins", set: ProgramSet{XDP: xdp}, opts: AttachOptions{OnStop: StopKeep}, want: "set a pin path"},
		{name: "unknown stop", set: ProgramSet{XDP: xdp}, opts: AttachOptions{OnStop: 7}, want: "unknown action on stop 7"},
		{name: "no egress program", set: ProgramSet{XDP: xdp}, list: []Interface{{Name: "a", Egress: true}}, want: "asks for egress"},
		{
			name: "no pairs", set: ProgramSet{XDP: xdp},
			list: []Interface{{Name: "a", Role: Wire, Pair: "b"}, {Name: "b", Role: Wire, Pair: "a"}}, want: "pairs cannot be set",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := NewAttacher(test.set, test.opts, test.list)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}
