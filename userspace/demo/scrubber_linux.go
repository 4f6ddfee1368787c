package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/loader"
	"weir/userspace/hosts"
	"weir/userspace/lab"
	"weir/userspace/networks"
	"weir/userspace/traffic"
)

// bump is the data plane of the scrubber: two interfaces joined in XDP.
type bump struct {
	layout    *networks.Layout
	data      *loader.DataPlane
	attacher  *loader.Attacher
	namespace *os.File
}

// startScrubber loads the programs and attaches them inside the scrubber's namespace, until ctx ends.
func startScrubber(ctx context.Context, group *errgroup.Group, s scene, host *lab.Host, log *slog.Logger) (_ *bump, err error) {
	b := &bump{}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.layout, err = networks.NewLayout([]netip.Prefix{s.network}, networks.Budget{Dense: s.size()}); err != nil {
		return nil, err
	}
	b.data, err = loader.Load(loader.Plan{
		Locate4: b.layout.Locate4(), Filter6: b.layout.Filter6(), DenseSlots: b.layout.DenseSlots(), Slots: b.layout.Slots(), FoldHosts: b.layout.FoldHosts(),
	})
	if err != nil {
		return nil, fmt.Errorf("load data plane: %w", err)
	}
	if b.namespace, err = host.Open(); err != nil {
		return nil, err
	}
	b.attacher, err = loader.NewAttacher(b.data.ProgramSet(), loader.AttachOptions{Log: log, Namespace: b.namespace}, []loader.Interface{
		{Name: "outside", Role: loader.Wire, Pair: "inside"},
		{Name: "inside", Role: loader.Wire, Pair: "outside"},
	})
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	group.Go(func() error {
		err := b.attacher.Run(ctx)
		ended <- err
		return err
	})
	select {
	case <-b.attacher.Started():
		return b, nil
	case err := <-ended:
		return nil, fmt.Errorf("attach: %w", errors.Join(err, ctx.Err()))
	}
}

// describe names the interfaces and how they are attached.
func (b *bump) describe() string {
	var parts []string
	for _, s := range b.attacher.Status() {
		parts = append(parts, fmt.Sprintf("%s -> %s (%s)", s.Name, s.Pair, s.Why))
	}
	return strings.Join(parts, ", ")
}

// plane gives the engine the kernel's cells and verdicts.
func (b *bump) plane() plane {
	p := plane{
		slots: b.layout.Slots(), owner: b.owner, locate: b.layout.DenseSlot, flip: b.data.Flip,
		block: func(slot uint32, dir traffic.Direction, duration time.Duration) error {
			return b.data.SetVerdict(slices.Values([]uint32{slot}), dir, loader.Verdict{Action: traffic.ActionDrop, Until: duration})
		},
		release: func(slot uint32, dir traffic.Direction) error {
			return b.data.SetVerdict(slices.Values([]uint32{slot}), dir, loader.Verdict{})
		},
	}
	for _, s := range b.data.Shards() {
		p.shards = append(p.shards, hosts.Shard(s))
	}
	return p
}

func (b *bump) owner(slot uint32) (netip.Prefix, bool) {
	if addr, ok := b.layout.DenseOwner(slot); ok {
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	return b.data.Owner(slot)
}

func (b *bump) close() error {
	var errs []error
	if b.data != nil {
		errs = append(errs, b.data.Close())
	}
	if b.namespace != nil {
		errs = append(errs, b.namespace.Close())
	}
	return errors.Join(errs...)
}

// refusedDatagrams is the victim's count of datagrams to ports that nobody listens at (Udp NoPorts of RFC 4113, udpNoPorts).
func (w *town) refusedDatagrams() (count uint64, err error) {
	err = w.inside.Do(func() (err error) {
		table, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		count, err = snmpValue(table, "Udp:", "NoPorts")
		return err
	})
	return count, err
}

// snmpValue finds a value in the kernel's table: a line of names and a line of values with the same first word.
func snmpValue(table []byte, group, name string) (uint64, error) {
	var names []string
	for lines := bufio.NewScanner(bytes.NewReader(table)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] != group {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, field := range fields {
			if i < len(names) && names[i] == name {
				return strconv.ParseUint(field, 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("find %s %s in the kernel's counters: it is not there", group, name)
}
