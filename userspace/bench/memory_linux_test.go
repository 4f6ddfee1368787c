package bench

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"weir/tests/need"
	"weir/userspace/lab"
)

// What the daemon holds in memory when every host of a /16 has sent and received. It runs inside of this process, whose whole
// resident set is reported: generator and test framework are in the figure, mapped counters too.
func BenchmarkMemory(b *testing.B) {
	need.Root(b)
	l, err := lab.New(b.Context(), "weir-bench-memory-"+strconv.Itoa(os.Getpid()))
	if err != nil {
		b.Fatal(err)
	}
	p, err := newProving(b.Context(), l, 1)
	if err != nil {
		b.Fatal(errors.Join(err, l.Close()))
	}
	defer func() {
		if err := errors.Join(p.close(), l.Close()); err != nil {
			b.Error(err)
		}
	}()
	o, err := p.options(victims().Addr())
	if err != nil {
		b.Fatal(err)
	}
	o.Sources = lab.Addresses{Spread: lab.Random, Prefix: victims()}
	o.Destinations = o.Sources
	flood, err := lab.NewFlood(o)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := flood.Close(); err != nil {
			b.Error(err)
		}
	}()
	for b.Loop() {
		if _, err := flood.Run(b.Context(), 200_000, 1_000_000); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(resident(b))/1e6, "MB-RSS")
}

// resident is VmRSS of proc_pid_status(5), in bytes.
func resident(b *testing.B) int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, line, found := strings.Cut(string(text), "VmRSS:")
	if !found {
		b.Fatal("the kernel does not tell VmRSS")
	}
	kilobytes, err := strconv.Atoi(strings.Fields(line)[0])
	if err != nil {
		b.Fatal(err)
	}
	return kilobytes * 1024
}
