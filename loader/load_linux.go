package loader

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"

	"weir/userspace/traffic"
)

const (
	flowWords    = 1 << 16 // FLOW_WORDS of bpf/abi.h: one generation of one CPU
	reservedMost = 256     // slots kept back, so that a host can be banned however full the map is
)

// DataPlane is the programs and maps in the kernel. Its methods may be called from several goroutines, except where they say
// otherwise.
type DataPlane struct {
	plan    Plan
	spec    *ebpf.CollectionSpec
	maps    map[string]*ebpf.Map
	clock   *clock
	cpus    int
	adopted bool

	cells, hot, flows, state, owners, wholes mapped
	samples                                  *ringbuf.Reader

	mu       sync.Mutex // guards what follows
	programs map[string]*ebpf.Program
	reserve  []uint32 // slots for hosts that must have one
	ruling   ruleState
	auth     authState
	leaving  []uint32 // slots whose hosts are gone, until no CPU can still be counting in them
}

// Load creates the maps, or adopts those that an earlier daemon left at PinPath if they count the same hosts in the same places.
// Nothing is attached yet. Programs are loaded when they are first asked for.
func Load(plan Plan) (*DataPlane, error) {
	if err := plan.check(); err != nil {
		return nil, err
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, explainLoad(fmt.Errorf("raise locked memory: %w", err))
	}
	spec, err := loadWeir()
	if err != nil {
		return nil, fmt.Errorf("read embedded programs: %w", err)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, fmt.Errorf("count CPUs: %w", err)
	}
	d := &DataPlane{plan: plan, spec: spec, cpus: cpus, programs: map[string]*ebpf.Program{}}
	if err := d.open(); err != nil {
		return nil, explainLoad(errors.Join(err, d.Close()))
	}
	return d, nil
}

func (d *DataPlane) open() (err error) {
	if d.clock, err = newClock(); err != nil {
		return err
	}
	if err := d.size(); err != nil {
		return err
	}
	if err := d.createMaps(); err != nil {
		return err
	}
	for _, m := range []struct {
		name   string
		memory *mapped
	}{{"cells", &d.cells}, {"hot", &d.hot}, {"flows", &d.flows}, {"cpus", &d.state}, {"owners", &d.owners}, {"networks", &d.wholes}} {
		if *m.memory, err = mapMemory(d.maps[m.name]); err != nil {
			return err
		}
	}
	if err := d.openRules(); err != nil {
		return err
	}
	if err := d.openAuth(); err != nil {
		return err
	}
	if d.samples, err = ringbuf.NewReader(d.maps["samples"]); err != nil {
		return fmt.Errorf("open samples: %w", err)
	}
	if !d.adopted {
		if err := d.fill(); err != nil {
			return err
		}
	}
	return d.keepBack()
}

// size writes the plan into the specification: map sizes and load-time settings.
func (d *DataPlane) size() error {
	p, s := &d.plan, d.spec
	if p.RingBytes == 0 {
		p.RingBytes = 1 << 20
	}
	demand := max(p.demandSlots(), 1)
	for name, entries := range map[string]int{
		"cells":      d.cpus * 2 * p.Slots,
		"hot":        d.cpus * 2 * d.hotWords(),
		"flows":      d.cpus * 2 * flowWords,
		"cpus":       d.cpus,
		"in_hand":    d.cpus,
		"locate4":    (len(p.Locate4) + 1) / 2,
		"networks":   max(len(p.Dynamic), 1),
		"hosts":      demand,
		"folds":      demand,
		"free_slots": demand,
		"owners":     p.Slots - p.DenseSlots + 1,
		"samples":    p.RingBytes,
	} {
		s.Maps[name].MaxEntries = uint32(entries)
	}
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return fmt.Errorf("seed flow hash: %w", err)
	}
	set := weirSettings{
		FlowSeed:   binary.LittleEndian.Uint64(seed[:]),
		Slots:      uint32(p.Slots),
		DenseSlots: uint32(p.DenseSlots),
		Cpus:       uint32(d.cpus),
		FoldHosts:  uint32(p.FoldHosts),
	}
	set.look(p.Tunnels.Effective())
	d.sizeRules(&set)
	d.sizeAuth(&set)
	for _, n := range p.Dynamic {
		if n.Prefix.Addr().Is4() {
			set.HasDynamic4 = 1
		} else {
			set.HasIpv6 = 1
		}
	}
	frags := features.HaveProgramHelper(ebpf.XDP, asm.FnXdpGetBuffLen) == nil // 5.18, as are frames in several buffers
	if frags {
		set.HasBuffLen = 1
	} else {
		for _, p := range s.Programs {
			p.Flags &^= frameInSeveralBuffers
		}
	}
	if err := s.Variables["settings"].Set(set); err != nil {
		return fmt.Errorf("set load-time settings: %w", err)
	}
	return nil
}

// frameInSeveralBuffers is BPF_F_XDP_HAS_FRAGS of linux/bpf.h.
const frameInSeveralBuffers = 1 << 5

func (d *DataPlane) hotWords() int { return (d.plan.Slots + 63) / 64 }

// mapNames are all maps that programs share; in_hand and .rodata belong to the programs alone.
func (d *DataPlane) mapNames() []string {
	return []string{"cells", "hot", "flows", "cpus", "locate4", "filter6", "networks6", "networks", "hosts", "folds", "free_slots",
		"owners", "prefix_verdicts", "samples", "pairs", "in_hand", "rule_facts", "rule_sets", "rule_table", "rule_bloom", "rule_guard",
		"rule_classes", "rules", "rule_payloads", "rule_limits", "rule_hits", "sources_any", "sources4", "source_leaves",
		"source_sets", "source_lengths", "source_table", "auth", "auth_guard", "auth_hosts", "proofs", "auth_cpus"}
}

func (d *DataPlane) createMaps() error {
	d.maps = map[string]*ebpf.Map{}
	if d.plan.PinPath != "" {
		if d.adopt(); d.adopted {
			return nil
		}
	}
	for _, name := range d.mapNames() {
		m, err := ebpf.NewMap(d.spec.Maps[name])
		if err != nil {
			return fmt.Errorf("create map %s: %w", name, err)
		}
		d.maps[name] = m
	}
	return d.pin()
}

// markPath names an empty directory whose name is the fingerprint of what is pinned beside it.
func (d *DataPlane) markPath() string {
	return filepath.Join(d.plan.PinPath, fmt.Sprintf("plan_%016x", d.plan.fingerprint(d.cpus)))
}

// adopt takes over pinned maps, all of them or none.
func (d *DataPlane) adopt() {
	if _, err := os.Stat(d.markPath()); err != nil {
		return
	}
	for _, name := range d.mapNames() {
		m, err := ebpf.LoadPinnedMap(filepath.Join(d.plan.PinPath, "map_"+name), nil)
		if err == nil {
			d.maps[name] = m
			if spec := d.spec.Maps[name]; m.MaxEntries() == spec.MaxEntries && m.ValueSize() == spec.ValueSize {
				continue
			}
		}
		for n, m := range d.maps {
			m.Close()
			delete(d.maps, n)
		}
		return
	}
	d.adopted = true
}

// pin makes the maps outlive this process. What an earlier daemon left goes: its programs run on with their own maps until
// ours take their place.
func (d *DataPlane) pin() error {
	if d.plan.PinPath == "" {
		return nil
	}
	if err := os.MkdirAll(d.plan.PinPath, 0o700); err != nil {
		return fmt.Errorf("create %s: %w", d.plan.PinPath, err)
	}
	marks, err := filepath.Glob(filepath.Join(d.plan.PinPath, "plan_*"))
	if err != nil {
		return fmt.Errorf("list %s: %w", d.plan.PinPath, err)
	}
	for _, mark := range marks {
		if err := os.Remove(mark); err != nil {
			return fmt.Errorf("remove old pin: %w", err)
		}
	}
	for name, m := range d.maps {
		path := filepath.Join(d.plan.PinPath, "map_"+name)
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove old pin: %w", err)
		}
		if err := m.Pin(path); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	if err := os.Mkdir(d.markPath(), 0o700); err != nil {
		return fmt.Errorf("mark pins: %w", err)
	}
	return nil
}

// Adopted reports whether the maps were taken over from an earlier daemon, with their counts and verdicts.
func (d *DataPlane) Adopted() bool { return d.adopted }

// Unpin removes the maps from PinPath: once the programs are detached, the kernel frees them.
func (d *DataPlane) Unpin() error {
	if d.plan.PinPath == "" {
		return nil
	}
	errs := []error{os.RemoveAll(d.markPath())}
	for _, name := range d.mapNames() {
		errs = append(errs, ignoreMissing(os.Remove(filepath.Join(d.plan.PinPath, "map_"+name))))
	}
	return errors.Join(errs...)
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Close lets go of maps and programs. What is pinned or attached stays in the kernel.
func (d *DataPlane) Close() error {
	var errs []error
	if d.samples != nil {
		errs = append(errs, d.samples.Close())
	}
	for _, m := range []mapped{d.cells, d.hot, d.flows, d.state, d.owners, d.wholes} {
		errs = append(errs, m.unmap())
	}
	errs = append(errs, d.closeRules(), d.closeAuth())
	for _, p := range d.programs {
		errs = append(errs, p.Close())
	}
	for _, m := range d.maps {
		errs = append(errs, m.Close())
	}
	if d.clock != nil {
		errs = append(errs, d.clock.close())
	}
	return errors.Join(errs...)
}

// Shards returns what each CPU counts. The memory is the kernel's and valid until Close.
func (d *DataPlane) Shards() []Shard {
	slots, words := d.plan.Slots, d.hotWords()
	cells := view[traffic.Cell](d.cells, d.cpus*2*slots)
	hot := view[uint64](d.hot, d.cpus*2*words)
	shards := make([]Shard, d.cpus)
	for cpu := range shards {
		for dir := range 2 {
			at := cpu*2 + dir
			shards[cpu].Cells[dir] = cells[at*slots : (at+1)*slots : (at+1)*slots]
			shards[cpu].Hot[dir] = hot[at*words : (at+1)*words : (at+1)*words]
		}
		shards[cpu].FlowFill = func() float64 { return d.flowFill(cpu) }
	}
	return shards
}
