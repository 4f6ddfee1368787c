package engines

import (
	"context"

	"weir/loader"
	"weir/userspace/capture/afpacket"
	"weir/userspace/capture/afxdp"
	"weir/userspace/capture/netmap"
	"weir/userspace/capture/pcap"
	"weir/userspace/capture/pfring"
	"weir/userspace/capture/snabb"
	"weir/userspace/config"
)

// Availability is whether this machine and this user have an engine.
type Availability struct {
	Name      string `json:"name"` // as the configuration has it
	Available bool   `json:"available"`
	Why       string `json:"why"`    // what was found
	Remedy    string `json:"remedy"` // what to do about it; of what is available, nothing
}

// List tries every engine, and changes nothing: XDP is tried in a network namespace of its own.
func List(ctx context.Context) []Availability {
	probes := []struct {
		engine config.Engine
		probe  func() (available bool, why, remedy string)
	}{
		{config.EngineXDP, func() (bool, string, string) { return judge(loader.Probe(ctx)) }},
		{config.EngineAFPacket, afpacket.Probe},
		{config.EngineAFXDP, afxdp.Probe},
		{config.EnginePcap, pcap.Probe},
		{config.EngineNetmap, netmap.Probe},
		{config.EnginePFRing, pfring.Probe},
		{config.EngineSnabb, snabb.Probe},
	}
	var all []Availability
	for _, p := range probes {
		a := Availability{Name: string(p.engine)}
		a.Available, a.Why, a.Remedy = p.probe()
		all = append(all, a)
	}
	return all
}

// judge weighs the loader's findings about the machine: what must be there, and is not, decides.
func judge(findings []loader.Finding) (available bool, why, remedy string) {
	why = "programs load and attach"
	for _, f := range findings {
		switch {
		case f.Interface != "":
		case !f.OK && !f.Optional:
			return false, f.Name + ": " + f.Detail, f.Remedy
		case f.Name == "xdp_native" && !f.OK:
			why = "programs load and attach, in generic mode"
		}
	}
	return true, why, ""
}
