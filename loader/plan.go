// Package loader puts the XDP and tc programs into the kernel, attaches them to interfaces, and gives typed access to their maps.
package loader

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"time"

	"encoding/binary"

	"weir/userspace/traffic"
)

// Network is a network whose hosts get their cells on demand.
type Network struct {
	Prefix  netip.Prefix
	Divided bool // hosts without a cell are counted in their /24 or /64, not in the network at once
}

// Plan says what is counted where, and how much memory that takes. It comes from the configuration's networks; see
// networks.Layout, whose words these are.
type Plan struct {
	Locate4    []uint32  // map locate4 of bpf/maps.h
	Filter6    []uint64  // map filter6
	Dynamic    []Network // by number; their own slots begin at DenseSlots
	DenseSlots int
	Slots      int // per CPU and direction; those from DenseSlots+len(Dynamic) on are handed out on demand
	FoldHosts  int // hosts of one /24 or /64 that may have cells of their own
	RingBytes  int // of the ring buffer for samples: a power of two and a multiple of the page size; 0: 1 MiB
	Rules      int // room for so many rules, and as many values and classes of theirs; 0: 4096
	Sources    int // room for so many prefixes in lists of sources; 0: none, and 16 MiB less memory
	// Authenticate is room for so many proven TCP sources, of 32 bytes; 0: none, and SetAuthentication is refused.
	Authenticate int
	Tunnels      traffic.Tunnels
	PinPath      string // directory in a BPF file system in which the maps outlive the daemon; "": nowhere
}

// MemoryPerSlot is the kernel memory of one slot: a cell and a hot bit per direction and CPU.
func MemoryPerSlot(cpus int) int { return cpus * 2 * traffic.CellBytes }

// Shard is what one CPU counts: memory that the kernel writes and the meter reads.
type Shard struct {
	Cells    [2][]traffic.Cell // by direction
	Hot      [2][]uint64       // by direction: a bit per slot
	FlowFill func() float64    // how full the CPU's flow bitmap is in this interval: 0 to 1
}

// Counters are the data plane's own counts since it was loaded.
type Counters struct {
	Exits          [3][traffic.ReasonCount]traffic.Count // by family (0: not IP, 1: IPv4, 2: IPv6) and reason
	Anomalies      [traffic.AnomalyCount]uint64
	SamplesLost    uint64 // the ring buffer was full
	FoldedPackets  uint64 // counted for a prefix, because no cell was left for the host
	RedirectFailed uint64 // wire: no paired interface to send to
	SourceAllowed  uint64 // packets from sources that are let pass, whatever rules say
	SourceBlocked  uint64 // packets from sources that are dropped
}

// Verdict is what the kernel is to do with a host's packets in one direction.
type Verdict struct {
	Action traffic.Action
	Until  time.Duration // from now; the kernel ends it by its own clock
}

func (p *Plan) check() error {
	switch {
	case p.Slots < 1:
		return fmt.Errorf("plan data plane: no slots; give at least one network")
	case p.DenseSlots+len(p.Dynamic) > p.Slots:
		return fmt.Errorf("plan data plane: %d slots do not hold %d dense and %d network slots", p.Slots, p.DenseSlots, len(p.Dynamic))
	case len(p.Locate4) < 1<<16:
		return fmt.Errorf("plan data plane: locate4 has %d entries; needs 65536 or more", len(p.Locate4))
	}
	if p.Rules < 0 || p.Rules > MaxRules {
		return fmt.Errorf("plan data plane: room for %d rules; expected 0 to %d", p.Rules, MaxRules)
	}
	if p.Sources < 0 || p.Sources > MaxSources {
		return fmt.Errorf("plan data plane: room for %d sources; expected 0 to %d", p.Sources, MaxSources)
	}
	if p.Authenticate < 0 || p.Authenticate > MaxAuthenticate {
		return fmt.Errorf("plan data plane: room for %d proven sources; expected 0 to %d", p.Authenticate, MaxAuthenticate)
	}
	if err := p.Tunnels.Check(); err != nil {
		return fmt.Errorf("plan data plane: %w", err)
	}
	return nil
}

// demandSlots is the number of slots that are handed out on demand.
func (p *Plan) demandSlots() int { return p.Slots - p.DenseSlots - len(p.Dynamic) }

// fingerprint tells whether maps that were left in the kernel count the same hosts in the same places.
func (p *Plan) fingerprint(cpus int) uint64 {
	h := fnv.New64a()
	write := func(v any) {
		// A hash never fails to write, and the values are of fixed size.
		_ = binary.Write(h, binary.LittleEndian, v)
	}
	write([]uint64{abiVersion, uint64(cpus), uint64(p.DenseSlots), uint64(p.Slots), uint64(len(p.Dynamic)), uint64(p.ruleSizes().rules), uint64(p.Sources),
		uint64(p.Authenticate)})
	write(p.Locate4)
	write(p.Filter6)
	for _, n := range p.Dynamic {
		a := n.Prefix.Addr().As16()
		write(a[:])
		write([]bool{n.Divided, n.Prefix.Addr().Is4()})
		write(uint32(n.Prefix.Bits()))
	}
	return h.Sum64()
}

// abiVersion changes with every incompatible change of bpf/abi.h or bpf/maps.h.
const abiVersion = 4

// mappedBits is the length of p within the IPv4-mapped IPv6 space that map keys are in.
func mappedBits(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 96 + p.Bits()
	}
	return p.Bits()
}
