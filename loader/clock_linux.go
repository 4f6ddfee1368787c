package loader

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// The moment at which a verdict ends, as it stands in cell.verdict (bpf/abi.h).
const (
	verdictActionShift = 28
	verdictSuspect     = 1 << 27
	verdictUntilMask   = 1<<27 - 1
	verdictUnitShift   = 6
)

// clock is the kernel's jiffies, which verdicts end by. The kernel does not tell user space, so programs of a few instructions do.
type clock struct {
	count *ebpf.Program // returns the low 32 bits of jiffies in units of a verdict's end
	hz    int
}

func newClock() (*clock, error) {
	jiffies, err := clockProgram(0)
	if err != nil {
		return nil, err
	}
	defer jiffies.Close()
	c := &clock{}
	if c.hz, err = clockRate(jiffies); err != nil {
		return nil, err
	}
	if c.count, err = clockProgram(verdictUnitShift); err != nil {
		return nil, err
	}
	return c, nil
}

// clockProgram returns a program that returns jiffies >> shift.
func clockProgram(shift int32) (*ebpf.Program, error) {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "weir_clock",
		Type:         ebpf.SocketFilter,
		License:      "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.FnJiffies64.Call(), asm.RSh.Imm(asm.R0, shift), asm.Return()},
	})
	if err != nil {
		return nil, fmt.Errorf("load clock: %w", err)
	}
	return prog, nil
}

func readClock(prog *ebpf.Program) (uint32, error) {
	ret, err := prog.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	if err != nil {
		return 0, fmt.Errorf("read jiffies: %w", err)
	}
	return ret, nil
}

// now returns the low 32 bits of jiffies in units of a verdict's end.
func (c *clock) now() (uint32, error) { return readClock(c.count) }

// clockRate finds CONFIG_HZ: jiffies start at -300 s (INITIAL_JIFFIES in include/linux/jiffies.h) and follow CLOCK_MONOTONIC,
// so as a rule only the right rate explains what they are now. Around 300 s after boot every rate does: then they are watched
// for a while.
func clockRate(jiffies *ebpf.Program) (int, error) {
	now, err := readClock(jiffies)
	if err != nil {
		return 0, err
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &up); err != nil {
		return 0, fmt.Errorf("read monotonic clock: %w", err)
	}
	var fits []int
	for _, hz := range []int{100, 200, 250, 300, 500, 1000, 128, 256, 512, 1024, 1200} {
		expected := uint32(int64(hz) * (up.Nano()/1e6 - 300_000) / 1000)
		if off := int(int32(now - expected)); off > -hz && off < hz {
			fits = append(fits, hz)
		}
	}
	if len(fits) == 1 {
		return fits[0], nil
	}
	start := time.Now()
	time.Sleep(time.Second / 2)
	later, err := readClock(jiffies)
	if err != nil {
		return 0, err
	}
	hz := float64(later-now) / time.Since(start).Seconds()
	if hz < 20 || hz > 10_000 {
		return 0, fmt.Errorf("read clock: %.0f jiffies per second cannot be", hz)
	}
	return int(hz + 0.5), nil
}

// unit is the time that one unit of a verdict's end stands for.
func (c *clock) unit() time.Duration {
	return time.Second * (1 << verdictUnitShift) / time.Duration(c.hz)
}

// until returns the verdict bits for a moment that is d from now or up to two units later, and at most what the bits can tell apart.
func (c *clock) until(d time.Duration) (uint32, error) {
	now, err := c.now()
	if err != nil {
		return 0, err
	}
	return (now + c.units(d)) & verdictUntilMask, nil
}

// units is how many units from now a moment is that d stands for, rounded up, and one more for the unit that has begun.
func (c *clock) units(d time.Duration) uint32 {
	return uint32(min(int64((max(d, 0)+c.unit()-1)/c.unit())+1, verdictUntilMask/2))
}

func (c *clock) close() error { return c.count.Close() }
