package daemon

import (
	"math/bits"
	"slices"

	"weir/loader"
	"weir/userspace/config"
)

// leastSources is how many prefixes there is room for as soon as a configuration lists any sources.
const leastSources = 1 << 16

// roomForSources is how many listed prefixes the data plane is to have room for; 0: it has no such lists.
func roomForSources(cfg *config.Config) int {
	n := len(cfg.Sources.Allow) + len(cfg.Sources.Block)
	if n == 0 {
		return 0
	}
	return min(max(leastSources, 1<<bits.Len(uint(n-1))), loader.MaxSources)
}

// setSources gives the kernel the lists of a configuration. Where nothing is to be dropped, nobody is blocked.
func setSources(plane *loader.DataPlane, cfg *config.Config, harmless bool) error {
	if plane == nil || roomForSources(cfg) == 0 {
		return nil
	}
	block := cfg.Sources.Block
	if harmless {
		block = nil
	}
	return plane.SetSources(cfg.Sources.Allow, block)
}

// sameSources reports whether two configurations list the same sources, to the same effect.
func sameSources(a, b *config.Config) bool {
	dry := func(c *config.Config) bool { return c.Mitigation.DryRun || c.Mitigation.KillSwitch }
	return slices.Equal(a.Sources.Allow, b.Sources.Allow) && slices.Equal(a.Sources.Block, b.Sources.Block) && dry(a) == dry(b)
}
