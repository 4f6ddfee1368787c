package netmap

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestOpenWithoutDevice(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "netmap")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ device, want string }{
		{filepath.Join(dir, "none"), "the netmap module is not loaded; build and load it"},
		{file, "netmap port eth1: inappropriate ioctl for device"},
	} {
		if _, err := Open(Options{Interface: "eth1", Device: tt.device}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.device, err, tt.want)
		}
	}
}

func TestExplain(t *testing.T) {
	for cause, want := range map[error]string{
		unix.ENXIO: "no such interface", unix.EBUSY: "another program has the port", unix.ENOMEM: "raise ring_num and buf_num", unix.EINVAL: "the module must have API 14",
		unix.EPERM: "netmap port eth1: operation not permitted",
	} {
		if err := explain("eth1", cause); !errors.Is(err, cause) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", cause, err, want)
		}
	}
}

// The request number is _IOWR('i', 151, struct nmreq_header), and offsets in the structs follow from their members.
func TestRequests(t *testing.T) {
	type header struct {
		Version, Request uint16
		Reserved         uint32
		Name             [64]byte
		Options, Body    uint64
	}
	type register struct {
		Offset, Memsize                                    uint64
		TxSlots, RxSlots                                   uint32
		TxRings, RxRings, HostTxRings, HostRxRings, ID, At uint16
		Mode, Extra, _                                     uint32
		Flags                                              uint64
	}
	type info struct {
		Memsize                                        uint64
		TxSlots, RxSlots                               uint32
		TxRings, RxRings, HostTxRings, HostRxRings, ID uint16
		_                                              [3]uint16
	}
	var h header
	var r register
	var i info
	const readWrite, nr = 3, 151
	for name, got := range map[string][2]uintptr{
		"NIOCCTRL":            {controlRequest, readWrite<<30 | unsafe.Sizeof(h)<<16 | 'i'<<8 | nr},
		"nmreq_header":        {headerBytes, unsafe.Sizeof(h)},
		"nr_version":          {headerVersion, unsafe.Offsetof(h.Version)},
		"nr_reqtype":          {headerRequest, unsafe.Offsetof(h.Request)},
		"nr_name":             {headerName, unsafe.Offsetof(h.Name)},
		"nr_options":          {headerOptions, unsafe.Offsetof(h.Options)},
		"nr_body":             {headerBody, unsafe.Offsetof(h.Body)},
		"nmreq_register":      {registerBytes, unsafe.Sizeof(r)},
		"nr_offset":           {registerOffset, unsafe.Offsetof(r.Offset)},
		"nr_memsize":          {registerSize, unsafe.Offsetof(r.Memsize)},
		"nr_rx_rings":         {registerRings, unsafe.Offsetof(r.RxRings)},
		"nr_host_rx_rings":    {registerHost, unsafe.Offsetof(r.HostRxRings)},
		"nr_ringid":           {registerRing, unsafe.Offsetof(r.At)},
		"nr_mode":             {registerMode, unsafe.Offsetof(r.Mode)},
		"nr_flags":            {registerFlags, unsafe.Offsetof(r.Flags)},
		"nmreq_port_info_get": {infoBytes, unsafe.Sizeof(i)},
		"info rx_rings":       {infoRings, unsafe.Offsetof(i.RxRings)},
		"info host_rx_rings":  {infoHostRings, unsafe.Offsetof(i.HostRxRings)},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %#x, want %#x", name, got[0], got[1])
		}
	}
	if binary.Size(h) != headerBytes {
		t.Errorf("the header has %d bytes", binary.Size(h))
	}
}
