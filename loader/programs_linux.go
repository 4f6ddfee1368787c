package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// ProgramSet is what an Attacher needs to attach this data plane.
func (d *DataPlane) ProgramSet() ProgramSet {
	return ProgramSet{XDP: d.XDP, Egress: d.Egress, SetPair: d.setPair, ClearPair: d.clearPair}
}

func (d *DataPlane) setPair(ifindex, pairIfindex int) error {
	if err := d.maps["pairs"].Put(uint32(ifindex), uint32(pairIfindex)); err != nil {
		return fmt.Errorf("pair interface %d with %d: %w", ifindex, pairIfindex, err)
	}
	return nil
}

func (d *DataPlane) clearPair(ifindex int) error {
	if err := d.maps["pairs"].Delete(uint32(ifindex)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("part interface %d from its pair: %w", ifindex, err)
	}
	return nil
}

// XDP returns the program for interfaces of the role, and loads it when it is the first.
func (d *DataPlane) XDP(role Role) (*ebpf.Program, error) {
	return d.program("weir_xdp", role)
}

// Egress returns the program for tc egress.
func (d *DataPlane) Egress() (*ebpf.Program, error) {
	return d.program("weir_egress", Host)
}

// Floor returns the program that only parses and drops: what `weir bench xdp` measures the others against.
func (d *DataPlane) Floor() (*ebpf.Program, error) {
	return d.program("weir_floor", Host)
}

func (d *DataPlane) program(name string, role Role) (*ebpf.Program, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := fmt.Sprintf("%s/%d", name, role)
	if p := d.programs[key]; p != nil {
		return p, nil
	}
	spec := d.spec.Copy()
	var set weirSettings
	if err := spec.Variables["settings"].Get(&set); err != nil {
		return nil, fmt.Errorf("read load-time settings: %w", err)
	}
	set.Role = uint32(role)
	if err := spec.Variables["settings"].Set(set); err != nil {
		return nil, fmt.Errorf("set load-time settings: %w", err)
	}
	for n := range spec.Programs {
		if n != name {
			delete(spec.Programs, n)
		}
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: d.maps})
	if err != nil {
		return nil, explainLoad(fmt.Errorf("load %s: %w", name, err))
	}
	d.programs[key] = coll.DetachProgram(name)
	coll.Close()
	return d.programs[key], nil
}
