package loader

import (
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// mapped is the memory of an mmapable array, shared with the kernel.
type mapped struct{ bytes []byte }

func mapMemory(m *ebpf.Map) (mapped, error) {
	size := int(m.ValueSize()+7) / 8 * 8 * int(m.MaxEntries())
	page := unix.Getpagesize()
	bytes, err := unix.Mmap(m.FD(), 0, (size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return mapped{}, fmt.Errorf("map memory of %s: %w", m, err)
	}
	return mapped{bytes}, nil
}

func (m mapped) unmap() error {
	if m.bytes == nil {
		return nil
	}
	return unix.Munmap(m.bytes)
}

// view is the memory as n values of T, whose layout must be the map's value.
func view[T any](m mapped, n int) []T {
	var t T
	if n*int(unsafe.Sizeof(t)) > len(m.bytes) {
		panic("view beyond mapped memory") // a mistake in this package, not in any input
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(m.bytes))), n)
}
