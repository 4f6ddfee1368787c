//go:build !linux

package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/cilium/ebpf"
)

// errUnsupported is what everything here returns where there are no network namespaces.
var errUnsupported = errors.New("network namespaces and XDP need Linux")

// Lab exists on Linux only.
type Lab struct{}

// Host exists on Linux only.
type Host struct{ lab *Lab }

// Flood exists on Linux only.
type Flood struct{}

// New returns an error.
func New(context.Context, string) (*Lab, error) { return nil, errUnsupported }

// Host returns an error.
func (*Lab) Host(string) (*Host, error) { return nil, errUnsupported }

// Link returns an error.
func (*Lab) Link(*Host, string, *Host, string, LinkOptions) error { return errUnsupported }

// Close does nothing.
func (*Lab) Close() error { return nil }

func (*Lab) atEnd(func() error) bool { return false }

// Name is empty.
func (*Host) Name() string { return "" }

// Namespace is empty.
func (*Host) Namespace() string { return "" }

// Open returns an error.
func (*Host) Open() (*os.File, error) { return nil, errUnsupported }

// Do returns an error.
func (*Host) Do(func() error) error { return errUnsupported }

// MAC returns an error.
func (*Host) MAC(string) (net.HardwareAddr, error) { return nil, errUnsupported }

// Stats returns an error.
func (*Host) Stats(string) (Stats, error) { return Stats{}, errUnsupported }

// Neighbour returns an error.
func (*Host) Neighbour(string, netip.Addr, net.HardwareAddr) error { return errUnsupported }

// Route returns an error.
func (*Host) Route(string, netip.Prefix, netip.Addr) error { return errUnsupported }

// Forward returns an error.
func (*Host) Forward() error { return errUnsupported }

// SetUp returns an error.
func (*Host) SetUp(string, bool) error { return errUnsupported }

// NewFlood returns an error.
func NewFlood(FloodOptions) (*Flood, error) { return nil, errUnsupported }

// Close does nothing.
func (*Flood) Close() error { return nil }

// Sent returns an error.
func (*Flood) Sent() (uint64, error) { return 0, errUnsupported }

// FirstPacket returns an error.
func (*Flood) FirstPacket() (time.Time, error) { return time.Time{}, errUnsupported }

// Run returns an error.
func (*Flood) Run(context.Context, float64, uint64) (uint64, error) { return 0, errUnsupported }

// Bench returns an error.
func (*Flood) Bench(*ebpf.Program, int) (float64, error) { return 0, errUnsupported }
