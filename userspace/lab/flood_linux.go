package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	liveFrames     = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES of linux/bpf.h
	hasFrags       = 1 << 5 // BPF_F_XDP_HAS_FRAGS of linux/bpf.h
	xdpAborted     = 0      // XDP_ABORTED of linux/bpf.h
	batchPackets   = 64     // a quarter of veth's ring, so that a batch never overruns it
	chunkPackets   = 8192   // a few milliseconds: how long a run may not notice that it is cancelled
	paceInterval   = time.Millisecond
	paceArrears    = 50 * time.Millisecond // how much may be caught up after a stall
	defaultSeed    = 0x9e3779b97f4a7c15
	benchAllowance = 1 << 62
)

// Flood is a packet generator in the kernel. Its methods are safe for concurrent use; runs come one after the other.
type Flood struct {
	opts     FloodOptions
	template []byte
	settings floodSettings

	anchor  *anchor // nil for a benchmark
	running sync.Mutex
	objects atomic.Pointer[floodObjects]
	frags   bool // the program is loaded as one that takes multi-buffer packets
}

// NewFlood loads a generator for the given stream. It needs CAP_BPF and CAP_NET_ADMIN, and Linux 5.18 for live frames.
func NewFlood(opts FloodOptions) (*Flood, error) {
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("set up flood: %w", err)
	}
	template, at, err := opts.Frame.encode()
	if err != nil {
		return nil, fmt.Errorf("set up flood: %w", err)
	}
	f := &Flood{opts: opts, template: template, settings: compile(&opts, template, at)}
	if opts.Host != nil {
		index, err := opts.Host.index(opts.Interface)
		if err != nil {
			return nil, fmt.Errorf("set up flood: %w", err)
		}
		f.settings.Ifindex = uint32(index)
	}
	if err := f.load(false); err != nil {
		return nil, fmt.Errorf("set up flood: %w", err)
	}
	if opts.Host != nil {
		if f.anchor, err = opts.Host.anchor(f.objects.Load().Flood); err != nil {
			return nil, errors.Join(fmt.Errorf("set up flood: %w", err), f.Close())
		}
	}
	return f, nil
}

// compile turns the options into what the program reads.
func compile(o *FloodOptions, template []byte, at layout) floodSettings {
	s := floodSettings{Family: 6, Network: uint32(at.network), Transport: uint32(at.ports), Checksum: uint32(at.checksum)}
	s.Source.Spread, s.Source.Base, s.Source.Mask = addressWords(o.Sources, o.Frame.Src)
	s.Destination.Spread, s.Destination.Base, s.Destination.Mask = addressWords(o.Destinations, o.Frame.Dst)
	s.SourcePort.Base, s.SourcePort.Mask = swap16(o.Frame.SrcPort), swap16(o.SrcPorts)
	s.DestinationPort.Base, s.DestinationPort.Mask = swap16(o.Frame.DstPort), swap16(o.DstPorts)

	for i := range s.Macs {
		s.Macs[i] = binary.LittleEndian.Uint16(template[2*i:])
	}
	s.Hops = frameHops
	still := append([]byte(nil), template...)
	if at.ports != 0 {
		clear(still[at.ports : at.ports+4])
	}
	if at.checksum != 0 {
		clear(still[at.checksum : at.checksum+2])
	}
	if o.Frame.Src.Is4() {
		s.Family = 4
		header := still[at.network : at.network+ipv4Bytes]
		clear(header[10:20]) // checksum and addresses
		s.NetworkSum = uint32(swap16(fold(sum(header))))
	}
	unspecified := o.Frame
	unspecified.Src, unspecified.Dst = netip.Addr{}, netip.Addr{}
	body := still[at.transport:]
	s.TransportSum = uint32(swap16(fold(unspecified.pseudoSum(len(body)) + sum(body))))
	if o.Frame.Protocol == 1 { // no pseudo header: what the template has stays right
		s.Checksum = 0
	}
	return s
}

// addressWords gives base and mask as 32-bit words that are in network byte order when stored in memory.
func addressWords(a Addresses, own netip.Addr) (spread uint32, base, mask [4]uint32) {
	if a.Spread == Fixed {
		return uint32(a.Spread), words(own.AsSlice()), mask
	}
	host := make([]byte, a.Prefix.Addr().BitLen()/8)
	for bit := a.Prefix.Bits(); bit < len(host)*8; bit++ {
		host[bit/8] |= 0x80 >> (bit % 8)
	}
	return uint32(a.Spread), words(a.Prefix.Masked().Addr().AsSlice()), words(host)
}

func words(b []byte) (w [4]uint32) {
	for i := range len(b) / 4 {
		w[i] = binary.LittleEndian.Uint32(b[i*4:])
	}
	return w
}

// swap16 turns a number into what a little-endian machine loads from its network byte order; the program is built for those only.
func swap16(v uint16) uint16 { return v<<8 | v>>8 }

// load puts the program into the kernel, in place of an earlier one.
func (f *Flood) load(frags bool) error {
	spec, err := loadFlood()
	if err != nil {
		return err
	}
	if frags {
		spec.Programs[floodProgFlood].Flags |= hasFrags
	}
	if err := spec.Variables[floodVarSettings].Set(&f.settings); err != nil {
		return fmt.Errorf("set settings: %w", err)
	}
	state := floodState{Random: f.opts.Seed}
	if state.Random == 0 {
		state.Random = defaultSeed
	}
	if err := spec.Variables[floodVarState].Set(&state); err != nil {
		return fmt.Errorf("set state: %w", err)
	}
	var objects floodObjects
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		return fmt.Errorf("load generator (needs root, or CAP_BPF and CAP_NET_ADMIN): %w", err)
	}
	f.frags = frags
	if old := f.objects.Swap(&objects); old != nil {
		return old.Close()
	}
	return nil
}

// Close takes the generator out of the kernel. It waits for a run to end.
func (f *Flood) Close() error {
	f.running.Lock()
	defer f.running.Unlock()
	var err error
	if f.anchor != nil {
		err = f.anchor.close()
	}
	return errors.Join(err, f.objects.Load().Close())
}

func (f *Flood) state() (floodState, error) {
	var s floodState
	if err := f.objects.Load().State.Get(&s); err != nil {
		return s, fmt.Errorf("read flood state: %w", err)
	}
	return s, nil
}

// Sent is how many packets have been made so far, over all runs since the program was loaded; it may be called while one is going on.
func (f *Flood) Sent() (uint64, error) {
	s, err := f.state()
	return s.Made, err
}

// FirstPacket is when the very first packet was made, as the kernel has noted it; zero if none was.
func (f *Flood) FirstPacket() (time.Time, error) {
	s, err := f.state()
	if err != nil || s.First == 0 {
		return time.Time{}, err
	}
	var monotonic unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &monotonic); err != nil {
		return time.Time{}, fmt.Errorf("read clock: %w", err)
	}
	return time.Now().Add(time.Duration(int64(s.First) - monotonic.Nano())), nil
}

// Run sends packets at the given rate (packets per second; 0: as fast as it goes) until limit packets of this run are out
// (0: no limit) or ctx ends, which is not an error. It returns how many were sent; the receiving interface may still lose some.
func (f *Flood) Run(ctx context.Context, rate float64, limit uint64) (sent uint64, err error) {
	if f.opts.Host == nil {
		return 0, errors.New("run flood: no host and interface were given")
	}
	f.running.Lock()
	defer f.running.Unlock()
	before, err := f.state()
	if err != nil {
		return 0, err
	}
	// Live frames begin at the loopback device of the calling thread's namespace, and its interfaces are what they can be redirected to.
	err = f.opts.Host.Do(func() error { return f.pace(ctx, rate, limit, before.Made) })
	after, stateErr := f.state()
	return after.Made - before.Made, errors.Join(err, stateErr)
}

func (f *Flood) pace(ctx context.Context, rate float64, limit, before uint64) error {
	tick := time.NewTimer(paceInterval)
	defer tick.Stop()
	start, base, sent := time.Now(), uint64(0), uint64(0)
	for ctx.Err() == nil && (limit == 0 || sent < limit) {
		due := uint64(chunkPackets)
		if rate > 0 {
			elapsed := time.Since(start)
			target := base + uint64(rate*elapsed.Seconds())
			if arrears := uint64(rate * paceArrears.Seconds()); target > sent+arrears+1 {
				start, base = time.Now(), sent // a stall: what was missed stays missed
				target = sent + arrears + 1
			}
			due = min(due, target-min(sent, target))
		}
		if limit > 0 {
			due = min(due, limit-sent)
		}
		if due > 0 {
			if err := f.send(before+sent, due); err != nil {
				return err
			}
			sent += due
		}
		if rate > 0 && due < chunkPackets {
			tick.Reset(paceInterval)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}
	return nil
}

// send makes n packets after the first `made`. The allowance keeps the number right when the kernel restarts an interrupted run.
func (f *Flood) send(made, n uint64) error {
	if err := f.allow(made + n); err != nil {
		return err
	}
	_, err := f.objects.Load().Flood.Run(&ebpf.RunOptions{Data: f.template, Repeat: uint32(n), Flags: liveFrames, BatchSize: batchPackets})
	if err != nil {
		return fmt.Errorf("send packets in live frame mode (needs Linux 5.18, frames of at most about 3400 bytes): %w", err)
	}
	return nil
}

func (f *Flood) allow(packets uint64) error {
	s, err := f.state()
	if err != nil {
		return err
	}
	s.Allowed = packets
	if err := f.objects.Load().State.Set(&s); err != nil {
		return fmt.Errorf("write flood state: %w", err)
	}
	return nil
}

// Bench runs the stream through prog instead of an interface, repeat times, and returns the time per packet, generator included.
// Differences in the stream's options are differences in what prog sees; a parse-and-drop program gives the floor.
func (f *Flood) Bench(prog *ebpf.Program, repeat int) (nsPerPacket float64, err error) {
	if f.opts.Host != nil {
		return 0, errors.New("bench program: the flood was made for an interface; leave host and interface out")
	}
	if repeat <= 0 {
		return 0, fmt.Errorf("bench program: %d repeats", repeat)
	}
	f.running.Lock()
	defer f.running.Unlock()
	if err := f.aim(prog); err != nil {
		return 0, fmt.Errorf("bench program: %w", err)
	}
	if err := f.allow(benchAllowance); err != nil {
		return 0, fmt.Errorf("bench program: %w", err)
	}
	before, err := f.state()
	if err != nil {
		return 0, fmt.Errorf("bench program: %w", err)
	}
	verdict, average, err := f.objects.Load().Flood.Benchmark(f.template, repeat, nil)
	if err != nil {
		return 0, fmt.Errorf("bench program: %w", err)
	}
	if verdict == xdpAborted {
		return 0, errors.New("bench program: it aborted, or was not reached by the tail call")
	}
	after, err := f.state()
	if err != nil {
		return 0, fmt.Errorf("bench program: %w", err)
	}
	if after.Made-before.Made < uint64(repeat) {
		return 0, fmt.Errorf("bench program: only %d of %d packets were made", after.Made-before.Made, repeat)
	}
	return float64(average.Nanoseconds()), nil
}

// aim makes prog what the generator hands its packets to. The kernel lets only programs of one kind share a tail call:
// whether prog takes multi-buffer packets cannot be asked, so the generator is loaded again as the other kind if it is refused.
func (f *Flood) aim(prog *ebpf.Program) error {
	err := f.objects.Load().Subject.Put(uint32(0), prog)
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	if err := f.load(!f.frags); err != nil {
		return err
	}
	return f.objects.Load().Subject.Put(uint32(0), prog)
}
