// Package engines opens the engine that an interface is configured with, and says which engines this machine has.
package engines

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"weir/userspace/capture/afpacket"
	"weir/userspace/capture/afxdp"
	"weir/userspace/capture/netmap"
	"weir/userspace/capture/pcap"
	"weir/userspace/capture/pfring"
	"weir/userspace/capture/snabb"
	"weir/userspace/config"
	"weir/userspace/traffic"
)

// Engine hands over the frames of one interface.
type Engine interface {
	// Run hands frames over until ctx ends, and returns within a second of that with everything given back; an engine that is not
	// wanted after all is closed by running it with a context that has ended. handle is called once per worker; what it returns is
	// called for each frame, by one goroutine, and must keep nothing of it. The same goroutine calls idle at least ten times a second.
	Run(ctx context.Context, handle func(worker int) func(*traffic.Frame), idle func(worker int, now time.Time)) error
	// Stats may be called at any time.
	Stats() traffic.CaptureStats
	// Workers is how many goroutines hand frames over.
	Workers() int
}

// Options are what the configuration does not say.
type Options struct {
	Namespace  *os.File // of the interface; nil: the process's own
	SnapLength int      // bytes of each frame that are looked at, where an engine copies no more than it is asked to; 0: the engine's own
	Log        *slog.Logger
}

// Open opens an interface that has another engine than XDP, which is the loader's. The error names what is missing, and the remedy.
func Open(i config.Interface, o Options) (Engine, error) {
	c := &i.Capture
	switch i.Engine {
	case config.EngineAFPacket:
		return opened(afpacket.Open(afpacket.Options{
			Interface: i.Name, Workers: c.Workers, Fanout: fanout(c.AFPacket.Fanout), Blocks: c.AFPacket.Blocks, BlockSize: int(c.AFPacket.BlockSize),
			SnapLength: o.SnapLength, KernelSampling: c.AFPacket.KernelSampling, Filter: instructions(c.AFPacket.Filter),
			Promiscuous: c.Promiscuous, Namespace: o.Namespace, Log: o.Log,
		}))
	case config.EngineAFXDP:
		return opened(afxdp.Open(afxdp.Options{
			Interface: i.Name, Workers: c.Workers, Queues: c.AFXDP.Queues, ZeroCopy: string(c.AFXDP.ZeroCopy), Mode: string(i.Mode), Promiscuous: c.Promiscuous,
			Namespace: o.Namespace, Log: o.Log,
		}))
	case config.EnginePcap:
		return opened(pcap.Open(pcap.Options{
			Interface: i.Name, SnapLength: max(c.Pcap.SnapLength, o.SnapLength), Buffer: int(c.Pcap.Buffer), Promiscuous: c.Promiscuous, Namespace: o.Namespace, Log: o.Log,
		}))
	case config.EngineNetmap:
		if o.Namespace != nil {
			return nil, notInNamespace(i)
		}
		return opened(netmap.Open(netmap.Options{Interface: i.Name, HostRings: c.Netmap.HostRings, Promiscuous: c.Promiscuous, Log: o.Log}))
	case config.EnginePFRing:
		if o.Namespace != nil {
			return nil, notInNamespace(i)
		}
		return opened(pfring.Open(pfring.Options{
			Interface: i.Name, Workers: c.Workers, Cluster: c.PFRing.Cluster, Watermark: c.PFRing.Watermark, KernelSampling: c.PFRing.KernelSampling,
			Promiscuous: c.Promiscuous, Log: o.Log,
		}))
	case config.EngineSnabb:
		return opened(snabb.Open(snabb.Options{Interface: i.Name, Program: c.Snabb.Program, Script: c.Snabb.Script, Promiscuous: c.Promiscuous, Namespace: o.Namespace, Log: o.Log}))
	}
	return nil, fmt.Errorf("open interface %s: engine %q hands over no frames", i.Name, i.Engine)
}

// fanout is the engine's own value of a configured one.
func fanout(f config.Fanout) afpacket.Fanout {
	switch f {
	case config.FanoutHash:
		return afpacket.FanoutHash
	case config.FanoutLB:
		return afpacket.FanoutLB
	case config.FanoutRollover:
		return afpacket.FanoutRollover
	case config.FanoutQueue:
		return afpacket.FanoutQueueMapping
	case config.FanoutRandom:
		return afpacket.FanoutRandom
	}
	return afpacket.FanoutCPU
}

func instructions(program []config.Instruction) []afpacket.Instruction {
	var out []afpacket.Instruction
	for _, i := range program {
		out = append(out, afpacket.Instruction(i))
	}
	return out
}

// opened keeps an engine that could not be opened from becoming an Engine that is not nil.
func opened[E Engine](e E, err error) (Engine, error) {
	if err != nil {
		return nil, err
	}
	return e, nil
}

func notInNamespace(i config.Interface) error {
	return fmt.Errorf("open interface %s: engine %s: %w: it captures in the process's own network namespace only", i.Name, i.Engine, errors.ErrUnsupported)
}

// Weight is how many packets on the wire a frame of an interface stands for.
func Weight(i config.Interface) uint32 {
	return max(i.Capture.Sampling, 1) * max(i.Capture.AFPacket.KernelSampling, 1) * max(i.Capture.PFRing.KernelSampling, 1)
}
