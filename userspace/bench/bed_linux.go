package bench

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"weir/loader"
	"weir/userspace/lab"
	"weir/userspace/networks"
	"weir/userspace/traffic"
)

const (
	sampleRate  = 1000 // those of a configuration that says nothing of sampling
	suspectRate = 10
	spareSlots  = 1024 // beside the hosts': what the loader keeps back, and folds
	verdictTime = time.Hour
)

// bed is a data plane of one family with all that is measured on it.
type bed struct {
	family   int
	measured netip.Prefix // where packets go
	hosts    int          // that it holds
	filters  int          // rules of the rows with many
	layout   *networks.Layout
	plane    *loader.DataPlane
	drop     *ebpf.Program // only returns XDP_DROP
	floor    *ebpf.Program
	weir     *ebpf.Program
	same     *stream // one flow to each host
	fresh    *stream // each packet another flow; IPv4 only, as is the next
	wide     *stream // the same from all over the Internet
	rows     []*subject
}

// stream is an endless sequence of packets, with what making and parsing them costs.
type stream struct {
	flood            *lab.Flood
	generator, floor *subject
}

// subject is a program over a stream, and what each of its packets must become.
type subject struct {
	name    string
	program *ebpf.Program
	stream  *stream
	reason  traffic.Reason // that packets leave the data plane by; ReasonCount: they do not come to it
	astray  int            // one packet in so many may leave by another reason; 0: none
	times   []float64      // ns per packet, by round
	ratios  []float64      // to the floor of the same stream in the same round
}

func (s *subject) cost(hosts, rules int) Cost {
	return Cost{
		Name: s.name, Hosts: hosts, Rules: rules, Nanoseconds: round(quantile(s.times, 0.5), 1),
		Ratio: round(quantile(s.ratios, 0.5), 3), P10: round(quantile(s.ratios, 0.1), 3), P90: round(quantile(s.ratios, 0.9), 3),
	}
}

// phase is what is measured in turns. Which verdicts stand is the same all through it.
type phase struct {
	before   func() error
	subjects []*subject
}

// networkOf is where the measured hosts are: all of an IPv4 network, or the first addresses of a /64. Rules have one beside it.
func networkOf(family, hosts int) (ours, measured netip.Prefix) {
	free := bits.Len(uint(hosts)) - 1
	if family == 4 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, 0}), 32-free)
		return p, p
	}
	address := netip.MustParseAddr("2001:db8:1::")
	return netip.PrefixFrom(address, 64), netip.PrefixFrom(address, 128-free)
}

func rulesNetwork(rules int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{11, 0, 0, 0}), 33-bits.Len(uint(powerOfTwo(rules))))
}

func newBed(family, hosts, rules, filters int) (_ *bed, err error) {
	ours, measured := networkOf(family, hosts)
	b := &bed{family: family, hosts: hosts, filters: filters, measured: measured}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	prefixes, budget := []netip.Prefix{ours}, networks.Budget{}
	if family == 4 {
		budget.Dense = hosts
	} else {
		budget.Dynamic, budget.FoldHosts = hosts+spareSlots, hosts
	}
	if rules > 0 {
		prefixes = append(prefixes, rulesNetwork(rules))
		budget.Dense += powerOfTwo(rules)
	}
	if b.layout, err = networks.NewLayout(prefixes, budget); err != nil {
		return nil, err
	}
	if err := b.load(); err != nil {
		return nil, err
	}
	if rules > 0 {
		if err := b.ban(rulesNetwork(rules), rules); err != nil {
			return nil, err
		}
	}
	suffix := ""
	if family == 6 {
		suffix = "6"
	}
	if b.same, err = b.stream(suffix, ""); err != nil {
		return nil, err
	}
	if family == 4 {
		if b.fresh, err = b.stream("_new_flows", "198.18.0.0/15"); err != nil { // RFC 2544
			return nil, err
		}
		if filters > 0 {
			if b.wide, err = b.stream("_wide", "0.0.0.0/0"); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
	return b, b.meetAll()
}

func (b *bed) load() (err error) {
	l := b.layout
	plan := loader.Plan{Locate4: l.Locate4(), Filter6: l.Filter6(), DenseSlots: l.DenseSlots(), Slots: l.Slots(), FoldHosts: l.FoldHosts()}
	if b.family == 4 {
		plan.Rules, plan.Sources = b.filters, b.filters
	}
	for _, n := range l.DynamicNetworks() {
		plan.Dynamic = append(plan.Dynamic, loader.Network{Prefix: n, Divided: networks.Divided(n)})
	}
	if b.plane, err = loader.Load(plan); err != nil {
		return err
	}
	b.plane.SetSampling(sampleRate, suspectRate)
	if b.floor, err = b.plane.Floor(); err != nil {
		return err
	}
	if b.weir, err = b.plane.XDP(loader.Host); err != nil {
		return err
	}
	spec := &ebpf.ProgramSpec{
		Name: "weir_drop", Type: ebpf.XDP, AttachType: ebpf.AttachXDP, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpDrop), asm.Return()},
	}
	// Programs that a tail call may reach must be of one kind: as the loader does it, where the kernel knows frames in several buffers.
	if features.HaveProgramHelper(ebpf.XDP, asm.FnXdpGetBuffLen) == nil {
		spec.Flags = unix.BPF_F_XDP_HAS_FRAGS
	}
	if b.drop, err = ebpf.NewProgram(spec); err != nil {
		return fmt.Errorf("load program that only drops: %w", err)
	}
	return nil
}

const xdpDrop = 1 // XDP_DROP of linux/bpf.h

// options describes UDP packets to all hosts at random: from one address and port, or from any address of a prefix and any port.
func (b *bed) options(from string) lab.FloodOptions {
	source := netip.MustParseAddr("198.18.0.1")
	if b.family == 6 {
		source = netip.MustParseAddr("3fff::1") // RFC 9637
	}
	o := lab.FloodOptions{
		Frame:        lab.Frame{Src: source, Dst: b.measured.Addr(), Protocol: traffic.ProtoUDP, SrcPort: portOfRules, DstPort: 53},
		Destinations: lab.Addresses{Spread: lab.Random, Prefix: b.measured},
	}
	if from != "" {
		o.Sources, o.SrcPorts = lab.Addresses{Spread: lab.Random, Prefix: netip.MustParsePrefix(from)}, 0xffff
	}
	return o
}

func (b *bed) stream(suffix, from string) (*stream, error) {
	flood, err := lab.NewFlood(b.options(from))
	if err != nil {
		return nil, err
	}
	s := &stream{flood: flood}
	s.floor = b.subject("floor"+suffix, b.floor, s, traffic.ReasonCount)
	s.generator = b.subject("generator"+suffix, b.drop, s, traffic.ReasonCount)
	return s, nil
}

// subject makes a row of the result.
func (b *bed) subject(name string, program *ebpf.Program, on *stream, reason traffic.Reason) *subject {
	s := &subject{name: name, program: program, stream: on, reason: reason}
	b.rows = append(b.rows, s)
	return s
}

// meetAll sends a packet to each host, so that none gets its cell while it is measured.
func (b *bed) meetAll() (err error) {
	o := b.options("")
	o.Destinations.Spread = lab.Sweep
	flood, err := lab.NewFlood(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, flood.Close()) }()
	if _, err := flood.Bench(b.weir, b.hosts); err != nil {
		return err
	}
	if n := b.plane.Counters().FoldedPackets; n != 0 {
		return fmt.Errorf("give %d hosts their cells: %d packets were counted for their prefix", b.hosts, n)
	}
	return nil
}

// familyPhases is how many phases a bed of the family has.
func familyPhases(family, filters int) int {
	switch {
	case family == 6:
		return 1
	case filters == 0:
		return 2
	}
	return 2 + 6
}

func (b *bed) phases() []phase {
	if b.family == 6 {
		return []phase{{subjects: []*subject{b.subject("account6", b.weir, b.same, traffic.ReasonIncoming)}}}
	}
	phases := []phase{
		{subjects: []*subject{
			b.subject("account4", b.weir, b.same, traffic.ReasonIncoming),
			b.subject("flood_new_flows", b.weir, b.fresh, traffic.ReasonIncoming),
		}},
		{
			before:   func() error { return b.ban(b.measured, b.hosts) },
			subjects: []*subject{b.subject("banned", b.weir, b.same, traffic.ReasonBannedIn)},
		},
	}
	if b.filters == 0 {
		return phases
	}
	filters := b.filterPhases()
	first := filters[0].before
	filters[0].before = func() error { return errors.Join(b.unban(b.measured, b.hosts), first()) }
	return append(phases, filters...)
}

// ban drops what comes to the first n hosts of a network with dense cells.
func (b *bed) ban(network netip.Prefix, n int) error {
	return b.judge(network, n, loader.Verdict{Action: traffic.ActionDrop, Until: verdictTime})
}

func (b *bed) unban(network netip.Prefix, n int) error { return b.judge(network, n, loader.Verdict{}) }

func (b *bed) judge(network netip.Prefix, n int, v loader.Verdict) error {
	first, ok := b.layout.DenseSlot(network.Addr())
	if !ok {
		return fmt.Errorf("ban hosts of %s: they have no dense cells", network)
	}
	var slots iter.Seq[uint32] = func(yield func(uint32) bool) {
		for i := range uint32(n) {
			if !yield(first + i) {
				return
			}
		}
	}
	return b.plane.SetVerdict(slots, traffic.Incoming, v)
}

// round measures each subject once, just after the floor of its stream.
func (b *bed) round(subjects []*subject, packets int, counts bool) error {
	for _, s := range subjects {
		b.plane.Flip() // twice, so that both generations of flow bitmaps are empty
		b.plane.Flip()
		if err := b.plane.Samples(math.MaxInt, func(*traffic.Sample) {}); err != nil { // nor may the ring be full
			return err
		}
		var times [3]float64
		for i, one := range []*subject{s.stream.generator, s.stream.floor, s} {
			var err error
			if times[i], err = b.measure(one, packets); err != nil {
				return fmt.Errorf("%s: %w", one.name, err)
			}
		}
		if !counts {
			continue
		}
		for i, one := range []*subject{s.stream.generator, s.stream.floor, s} {
			one.times = append(one.times, times[i])
			one.ratios = append(one.ratios, times[i]/times[1])
		}
	}
	return nil
}

// measure returns ns per packet, and makes sure that the packets went the way that the row's name says.
func (b *bed) measure(s *subject, packets int) (float64, error) {
	before := b.left(s.reason)
	ns, err := s.stream.flood.Bench(s.program, packets)
	if err != nil {
		return 0, err
	}
	if s.reason == traffic.ReasonCount {
		return ns, nil
	}
	least := packets
	if s.astray > 0 {
		least -= packets / s.astray
	}
	if n := b.left(s.reason) - before; n < uint64(least) {
		return 0, fmt.Errorf("only %d of %d packets left as %s", n, packets, s.reason)
	}
	return ns, nil
}

// left is how many packets have left the data plane for a reason.
func (b *bed) left(reason traffic.Reason) (packets uint64) {
	if reason == traffic.ReasonCount {
		return 0
	}
	exits := b.plane.Counters().Exits
	for family := range exits {
		packets += exits[family][reason].Packets
	}
	return packets
}

func (b *bed) close() error {
	var errs []error
	for _, s := range []*stream{b.same, b.fresh, b.wide} {
		if s != nil {
			errs = append(errs, s.flood.Close())
		}
	}
	if b.drop != nil {
		errs = append(errs, b.drop.Close())
	}
	if b.plane != nil {
		errs = append(errs, b.plane.Close())
	}
	return errors.Join(errs...)
}
