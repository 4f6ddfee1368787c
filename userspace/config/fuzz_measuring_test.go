package config

import (
	"slices"
	"testing"

	"weir/userspace/traffic"
)

// checkMeasuring holds interfaces, flows and tunnels of a valid configuration against what whoever uses them relies on.
func checkMeasuring(t *testing.T, c *Config) {
	t.Helper()
	for _, i := range c.Interfaces {
		if i.Name == "" || !slices.Contains(engines(), i.Engine) || i.Engine != EngineXDP && (i.Role != RoleMirror || i.Capture.Sampling < 1) {
			t.Errorf("got interface %+v", i)
		}
	}
	f := &c.Flows
	if f.Workers < 0 || f.ReceiveBuffer < 1e6 || f.MaxExporters < 1 || f.MaxTemplates < 1 || f.TemplateLife <= 0 || f.Filters.Timeout <= 0 {
		t.Errorf("got flows %+v", f)
	}
	for _, a := range slices.Concat(f.Listen, f.TCP) {
		if !a.IsValid() || a.Port() == 0 {
			t.Errorf("got address %s", a)
		}
	}
	known := map[string]bool{}
	for _, e := range f.Exporters {
		if !e.Match.IsValid() || e.Match != e.Match.Masked() || known[e.Match.String()] || !slices.IsSorted(e.OnlyInterfaces) {
			t.Errorf("got exporter %+v", e)
		}
		known[e.Match.String()] = true
		for _, rates := range []map[uint32]uint32{e.InterfaceRates, e.DomainRates} {
			for _, rate := range rates {
				if rate == 0 {
					t.Errorf("got exporter %s with a rate of 0", e.Match)
				}
			}
		}
	}
	for _, r := range f.Filters.Rules {
		if len(r.Actions) != 1 || r.Actions[0].Kind != traffic.RuleDiscard && r.Actions[0].Kind != traffic.RuleAccept {
			t.Errorf("got rule %v", r)
		}
	}
	if c.Tunnels.Depth < 1 || c.Tunnels.Depth > traffic.TunnelDepth || len(c.Tunnels.VXLAN) > traffic.TunnelPorts {
		t.Errorf("got tunnels %+v", c.Tunnels)
	}
	if c.Detection.Confidence < 0 || c.Detection.Confidence > 0.999 {
		t.Errorf("got confidence %v", c.Detection.Confidence)
	}
	if (len(c.Interfaces) > 0 || f.Collects()) && len(c.Networks.Prefixes) == 0 && !c.Networks.LocalAddresses && !c.Networks.OpenVZ {
		t.Error("something is measured, but nothing is ours")
	}
}
