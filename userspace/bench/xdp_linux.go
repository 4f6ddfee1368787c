package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sys/unix"
)

// XDP measures the data plane over BPF_PROG_TEST_RUN and prints the costs: as a table, or as one line of JSON. It attaches
// nothing and sends nothing. It needs root and, with a million hosts, 400 MB of memory.
func XDP(ctx context.Context, o XDPOptions, out io.Writer) error {
	if err := o.complete(); err != nil {
		return err
	}
	if !o.JSON {
		err := printf(out, "random hosts, one packet in 1000 sampled, %d rounds of %d packets; a row's ratio is to parse-and-drop of the same packets\n\n%-20s %9s %9s %10s %8s  %s\n",
			o.Rounds, o.Packets, "what", "hosts", "rules", "ns/packet", "x floor", "10 % to 90 % of rounds")
		if err != nil {
			return err
		}
	}
	results := []Cost{}
	err := measureXDP(ctx, o, func(c Cost) error {
		results = append(results, c)
		if o.JSON {
			return nil
		}
		return printf(out, "%-20s %9d %9d %10.1f %8.2f  %.2f to %.2f\n", c.Name, c.Hosts, c.Rules, c.Nanoseconds, c.Ratio, c.P10, c.P90)
	})
	if err != nil {
		return fmt.Errorf("bench xdp: %w", err)
	}
	if !o.JSON {
		return printf(out, "\nfloor is parse-and-drop; generator only drops: making the packet is a part of every row.\n")
	}
	return printLine(out, struct {
		Results []Cost `json:"results"`
	}{results})
}

// measureXDP hands each cost to emit as soon as it is known.
func measureXDP(ctx context.Context, o XDPOptions, emit func(Cost) error) error {
	return onOneCPU(func() error {
		done, size := int64(0), int64(0)
		for range o.Hosts {
			size += int64(familyPhases(4, o.Filters)+familyPhases(6, o.Filters)) * int64(o.Rounds+1)
		}
		step := func() error {
			done++
			if o.Progress != nil {
				o.Progress(done, size)
			}
			return ctx.Err()
		}
		for _, hosts := range o.Hosts {
			for _, family := range []int{4, 6} {
				if err := measureFamily(o, family, hosts, step, emit); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func measureFamily(o XDPOptions, family, hosts int, step func() error, emit func(Cost) error) (err error) {
	b, err := newBed(family, hosts, o.Rules, o.Filters)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	phases := b.phases()
	for _, p := range phases {
		if p.before != nil {
			if err := p.before(); err != nil {
				return err
			}
		}
		for r := range o.Rounds + 1 {
			if err := b.round(p.subjects, o.Packets, r > 0); err != nil { // the first finds cold caches
				return err
			}
			if err := step(); err != nil {
				return err
			}
		}
	}
	for _, s := range b.rows {
		if err := emit(s.cost(hosts, o.Rules)); err != nil {
			return err
		}
	}
	return nil
}

// onOneCPU runs f on a thread that stays on one CPU: caches stay warm, and one CPU's cells are written.
func onOneCPU(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and its affinity with it.
		runtime.LockOSThread()
		if err := stayOnLastCPU(); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// stayOnLastCPU has the calling thread stay on the last CPU that it may use: interrupts tend to come to the first.
func stayOnLastCPU() error {
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return fmt.Errorf("read CPU affinity: %w", err)
	}
	last := 0
	for cpu := range len(allowed) * 64 {
		if allowed.IsSet(cpu) {
			last = cpu
		}
	}
	one.Set(last)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("stay on CPU %d: %w", last, err)
	}
	return nil
}
