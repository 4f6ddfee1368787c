package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/userspace/api/weirpb"
	"weir/userspace/lab"
)

// everySink is a configuration with all stores, streams and people, none of which is there: nobody listens at port 1.
const everySink = `
export:
  graphite: {address: "127.0.0.1:1", detailed: true}
  influxdb: {address: "http://127.0.0.1:1"}
  redis: {addresses: ["127.0.0.1:1"], stream: attacks, channel: attacks}
  mongodb: {addresses: ["127.0.0.1:1"]}
  clickhouse: {address: "127.0.0.1:1"}
  kafka: {brokers: ["127.0.0.1:1"], traffic: weir-traffic, flows: weir-flows}
notify:
  webhooks: [{url: "http://127.0.0.1:1/"}]
  mail: [{server: "127.0.0.1:1", security: none, from: weir@example.net, to: [noc@example.net]}]
  chat: [{url: "discord://TOKEN@1"}]
`

// sinks are what Prometheus calls them.
func sinks() []string {
	return []string{
		"export.graphite", "export.influxdb", "export.redis", "export.mongodb", "export.clickhouse", "export.kafka", "notify.webhooks[0]", "notify.mail[0]", "notify.chat[0]",
	}
}

// TestAway has the same floods detected without any sink and with every one, whose servers are all away: each flood is found, and each sink says that it is
// away. What detection, CPU and memory were in both cases is logged.
func TestAway(t *testing.T) {
	for _, tt := range []struct {
		name, sinks string
		away        []string
	}{{"no sink", "", nil}, {"every sink, all away", everySink, sinks()}} {
		t.Run(strings.Fields(tt.name)[0], func(t *testing.T) {
			b := newBed(t)
			d := startDaemon(t, b.router, "", routerConfig("native", false, "thresholds: {incoming: {pps: 5000}}")+tt.sinks)
			many := flood(t, 20_000, lab.FloodOptions{
				Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, victimAddr),
				Destinations: lab.Addresses{Spread: lab.Sweep, Prefix: prefixes(crowd)[0]},
			})
			many.more(t, 40_000) // tables and caches are warm
			var after []time.Duration
			packets := func() uint64 {
				sent, err := many.Sent()
				if err != nil {
					t.Fatal(err)
				}
				return sent
			}
			used, sent := cpuTime(t, d.process.Pid), packets()
			for range 5 {
				mark := d.changes.mark()
				start := time.Now()
				f := flood(t, 50_000, lab.FloodOptions{Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, victimAddr)})
				a := d.phase(t, mark, victimAddr, weirpb.Phase_PHASE_MITIGATED)
				after = append(after, a.GetDetected().AsTime().Sub(start))
				f.stop(t)
				d.phase(t, mark, victimAddr, weirpb.Phase_PHASE_OVER)
			}
			used, sent = cpuTime(t, d.process.Pid)-used, packets()-sent
			slices.Sort(after)
			t.Logf("%s: detected %s after a flood's begin (median of %d; %s at most); CPU %s for %d packets, %.0f ns each; memory %d MB", tt.name,
				after[len(after)/2].Round(time.Millisecond), len(after), after[len(after)-1].Round(time.Millisecond), used, sent, float64(used)/float64(sent), d.memory(t)>>20)
			until(t, "all sinks to be known as away", func() bool {
				text := scrape(t, b.router)
				return !slices.ContainsFunc(tt.away, func(sink string) bool {
					return value(t, text, fmt.Sprintf("weir_export_up{sink=%q}", sink)) != 0 || value(t, text, fmt.Sprintf("weir_export_failures_total{sink=%q}", sink)) == 0
				})
			})
		})
	}
}
