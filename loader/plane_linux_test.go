package loader_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"github.com/cilium/ebpf"

	"weir/loader"
	"weir/tests/need"
	"weir/userspace/networks"
	"weir/userspace/traffic"
)

// The networks of the tests: the builder's destinations are ours. 10.0.0.0/15 is too large for the budget of dense cells.
var (
	testNetworks = []netip.Prefix{
		netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("10.0.0.0/15"),
		netip.MustParsePrefix("2001:db8:2::/48"),
	}
	testBudget = networks.Budget{Dense: 256, Dynamic: 64, FoldHosts: 16}
)

func testPlan(t testing.TB, prefixes []netip.Prefix, budget networks.Budget) (loader.Plan, *networks.Layout) {
	t.Helper()
	l, err := networks.NewLayout(prefixes, budget)
	if err != nil {
		t.Fatal(err)
	}
	p := loader.Plan{Locate4: l.Locate4(), Filter6: l.Filter6(), DenseSlots: l.DenseSlots(), Slots: l.Slots(), FoldHosts: l.FoldHosts()}
	for _, n := range l.DynamicNetworks() {
		p.Dynamic = append(p.Dynamic, loader.Network{Prefix: n, Divided: networks.Divided(n)})
	}
	return p, l
}

// plane is a data plane without interfaces: packets come in by BPF_PROG_TEST_RUN.
type plane struct {
	*loader.DataPlane
	layout *networks.Layout
}

func load(t testing.TB) plane {
	t.Helper()
	return loadPlan(t, func(*loader.Plan) {})
}

func loadPlan(t testing.TB, change func(*loader.Plan)) plane {
	t.Helper()
	need.Root(t)
	plan, layout := testPlan(t, testNetworks, testBudget)
	change(&plan)
	d, err := loader.Load(plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return plane{d, layout}
}

func (p plane) xdp(t testing.TB, role loader.Role, frame []byte) uint32 {
	t.Helper()
	prog, err := p.XDP(role)
	if err != nil {
		t.Fatal(err)
	}
	ret, err := prog.Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		t.Fatal(err)
	}
	return ret
}

func (p plane) owner(slot uint32) string {
	if a, ok := p.layout.DenseOwner(slot); ok {
		return a.String()
	}
	owner, ok := p.Owner(slot)
	switch {
	case !ok:
		return fmt.Sprintf("free slot %d", slot)
	case owner.IsSingleIP():
		return owner.Addr().String()
	}
	return owner.String()
}

// moved is every counter of the data plane that is not zero, by name.
func (p plane) moved() map[string]uint64 {
	out := map[string]uint64{}
	for _, shard := range p.Shards() {
		for dir, cells := range shard.Cells {
			for slot := range cells {
				v := reflect.ValueOf(cells[slot])
				for i := range v.NumField() {
					if n := v.Field(i).Uint(); n != 0 && v.Type().Field(i).Name != "Verdict" {
						out[fmt.Sprintf("%s %s %s", p.owner(uint32(slot)), traffic.Direction(dir), v.Type().Field(i).Name)] += n
					}
				}
			}
		}
		for dir, words := range shard.Hot {
			for _, word := range words {
				if word != 0 {
					out[fmt.Sprintf("hot %s", traffic.Direction(dir))]++
				}
			}
		}
	}
	c := p.Counters()
	for family, exits := range c.Exits {
		for reason, n := range exits {
			if n.Packets != 0 {
				name := fmt.Sprintf("exit %s/%d", traffic.Reason(reason), []int{0, 4, 6}[family])
				out[name], out[name+" bytes"] = n.Packets, n.Bytes
			}
		}
	}
	for a, n := range c.Anomalies {
		if n != 0 {
			out["anomaly "+traffic.Anomaly(a).String()] = n
		}
	}
	for name, n := range map[string]uint64{"samples lost": c.SamplesLost, "folded": c.FoldedPackets, "redirect failed": c.RedirectFailed} {
		if n != 0 {
			out[name] = n
		}
	}
	return out
}

// counted is what one packet that was counted for one host moves.
func counted(host string, dir traffic.Direction, frame []byte, family int, parts ...string) map[string]uint64 {
	n := uint64(len(frame))
	out := hostMoved(host, dir, n, parts...)
	exit := fmt.Sprintf("exit %s/%d", dir, family)
	out[exit], out[exit+" bytes"] = 1, n
	return out
}

func hostMoved(host string, dir traffic.Direction, bytes uint64, parts ...string) map[string]uint64 {
	at := fmt.Sprintf("%s %s ", host, dir)
	out := map[string]uint64{at + "Packets": 1, at + "Bytes": bytes, at + "Flows": 1}
	for _, part := range parts {
		out[at+part+"Packets"], out[at+part+"Bytes"] = 1, bytes
	}
	return out
}

func exit(reason traffic.Reason, family int, frame []byte) map[string]uint64 {
	name := fmt.Sprintf("exit %s/%d", reason, family)
	return map[string]uint64{name: 1, name + " bytes": uint64(len(frame))}
}

func with(m map[string]uint64, more ...map[string]uint64) map[string]uint64 {
	for _, o := range more {
		for k, v := range o {
			m[k] += v
		}
	}
	return m
}
