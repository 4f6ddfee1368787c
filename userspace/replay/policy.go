package replay

import (
	"errors"
	"fmt"
	"net/netip"

	"weir/flowcollect"
	"weir/userspace/config"
	"weir/userspace/detect"
	"weir/userspace/networks"
	"weir/userspace/packet"
	"weir/userspace/traffic"
)

// policy makes what the detector is told from the configuration, if there is one, and from the thresholds and networks given beside it.
// There is no warm-up: a capture may begin with its attack.
func (o *Options) policy() (detect.Policy, []networks.Network, error) {
	c := config.Default()
	if o.ConfigPath != "" {
		loaded, err := config.Load(o.ConfigPath)
		if err != nil {
			return detect.Policy{}, nil, err
		}
		own := *loaded // a loaded configuration is not to be changed
		c = &own
	}
	if len(o.Networks) > 0 {
		c.Networks.Prefixes = nil
		for _, text := range o.Networks {
			p, err := parseNetwork(text)
			if err != nil {
				return detect.Policy{}, nil, err
			}
			c.Networks.Prefixes = append(c.Networks.Prefixes, p)
		}
	}
	if len(c.Networks.Prefixes) == 0 {
		if o.ConfigPath == "" {
			return detect.Policy{}, nil, errors.New("replay: which networks are ours? give --networks CIDR[,CIDR] or --config FILE")
		}
		return detect.Policy{}, nil, fmt.Errorf("replay: %s lists no networks (this machine's own addresses mean nothing to a capture); give --networks CIDR[,CIDR]", o.ConfigPath)
	}
	override, given := o.limits()
	policy := detect.Policy{MaxWatched: c.Detection.MaxWatched, Confidence: c.Detection.Confidence}
	for _, g := range c.Hostgroups {
		if given {
			g.Host, g.Enabled = [2]traffic.Limits{override, override}, [2]bool{true, true}
		}
		policy.Groups = append(policy.Groups, detect.Group{
			Name: g.Name, Enabled: g.Enabled, Host: g.Host, Prefix: g.Prefix, Total: g.Total,
			Window: g.Window, Average: g.Average, Clear: g.Clear, Quiet: g.Quiet,
		})
	}
	var members []networks.Network
	for _, m := range c.Members(nil) {
		members = append(members, networks.Network{Prefix: m.Prefix, Group: m.Group})
	}
	return policy, members, nil
}

// frames reads the capture's frames, and looks into the tunnels that the configuration names.
func (o *Options) frames() (*packet.Parser, error) {
	if o.ConfigPath == "" {
		return packet.NewParser(traffic.Tunnels{})
	}
	c, err := config.Load(o.ConfigPath)
	if err != nil {
		return nil, err
	}
	return packet.NewParser(c.Tunnels)
}

// collector is what the configuration says about exporters.
func (o *Options) collector() (*flowcollect.Options, error) {
	if o.ConfigPath == "" {
		return &flowcollect.Options{}, nil
	}
	c, err := config.Load(o.ConfigPath)
	if err != nil {
		return nil, err
	}
	out := &flowcollect.Options{
		Allow: c.Flows.Allow, MaxExporters: c.Flows.MaxExporters, MaxTemplates: c.Flows.MaxTemplates, TemplateLife: c.Flows.TemplateLife,
		UseAgent: c.Flows.UseAgentAddress,
	}
	sides := map[config.ExporterDirection]traffic.FlowSide{config.ExporterIngress: traffic.SideIngress, config.ExporterEgress: traffic.SideEgress}
	for _, e := range c.Flows.Exporters {
		out.Exporters = append(out.Exporters, flowcollect.ExporterOptions{
			Prefix: e.Match, Name: e.Name, Rate: e.SamplingRate, InterfaceRates: e.InterfaceRates, DomainRates: e.DomainRates,
			Side: sides[e.Direction], OnlyInterfaces: e.OnlyInterfaces, IgnoreInterfaces: e.IgnoreInterfaces, Group: e.Group,
		})
	}
	return out, nil
}

// limits returns the thresholds that were given, or without a configuration the default ones.
func (o *Options) limits() (limits traffic.Limits, given bool) {
	pps, mbps, flows := o.PPS, o.Mbps, o.Flows
	given = pps > 0 || mbps > 0 || flows > 0
	if !given && o.ConfigPath == "" {
		pps, mbps, flows, given = DefaultPPS, DefaultMbps, DefaultFlows, true
	}
	limits[traffic.PPS], limits[traffic.BPS], limits[traffic.FPS] = pps, mbps*traffic.BPS.Scale(), flows
	return limits, given
}

// parseNetwork reads a prefix without host bits, or an address as the prefix of just that address.
func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("replay: network %q: expected an address or a prefix such as 192.0.2.0/24", text)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("replay: network %s: host bits are set; expected %s", p, p.Masked())
	}
	return p, nil
}
