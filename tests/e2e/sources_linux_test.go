package e2e

import (
	"fmt"
	"syscall"
	"testing"

	"weir/userspace/lab"
)

// TestSources: who is on a list is dropped or let through, whatever rules say, and a reload changes the lists.
func TestSources(t *testing.T) {
	b := newBed(t)
	config := func(lists string) string {
		return routerConfig("native", false, "thresholds: {}") + fmt.Sprintf("\nsources: {%s}\n", lists)
	}
	d := startDaemon(t, b.router, "", config("block: {prefixes: [198.18.0.0/16]}"))
	from := func(prefix string) *stream {
		return flood(t, floodPPS, lab.FloodOptions{
			Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, victimAddr), Sources: lab.Addresses{Spread: lab.Random, Prefix: prefixes(prefix)[0]},
		})
	}
	f := from("198.18.7.0/24")
	f.blocked(t, "a blocked source", b.victim)
	reload := func(lists string) {
		t.Helper()
		mark := d.log.mark()
		d.configure(t, config(lists))
		d.signal(t, syscall.SIGHUP)
		d.said(t, mark, "configuration reloaded")
	}
	reload("block: {prefixes: [198.18.0.0/16]}, allow: {prefixes: [198.18.7.0/24]}")
	f.passes(t, "a source on both lists, allowed by the longer prefix", b.victim)
	if got := d.weir(t, "rules", "add", "destination 192.0.2.10/32 protocol udp then discard"); got.code != 0 {
		t.Fatalf("weir rules add: %s", got.errors)
	}
	f.passes(t, "an allowed source under a rule", b.victim)
	reload("")
	f.blocked(t, "the same without the lists, by the rule", b.victim)
	f.stop(t)
	d.weir(t, "rules", "del", "--all")
	f = from("198.18.9.0/24")
	f.passes(t, "a source that was blocked before", b.victim)
	f.stop(t)
}
