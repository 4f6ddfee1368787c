package digest

import (
	"net/netip"
	"strconv"
	"time"

	"weir/userspace/traffic"
)

// Examples are messages to try templates on: an attack that nothing is known of, one of which everything is, and many at once. Nothing in them is measured.
func Examples() []Message {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	counts := func(packets uint64) traffic.Counts {
		c := traffic.Count{Packets: packets, Bytes: 1000 * packets}
		return traffic.Counts{Total: c, UDP: c, Dropped: c, Flows: packets / 2}
	}
	bare := Attack{ID: "20260102-1", Target: "192.0.2.7", Scope: "host", Direction: "incoming", Hosts: 1, Started: at, Trip: "by hand", Response: "nothing is done"}
	known := bare
	known.Group, known.Ended, known.Duration = "servers", at.Add(5*time.Minute), 5*time.Minute
	known.Rate, known.Peak, known.Volume = counts(900_000), counts(1_200_000), counts(300_000_000)
	known.Trip = "pps: 52000 packets counted, 52000 packets/s > 20000 packets/s x 1s"
	known.Class, known.Confidence, known.Origin = "dns_amplification", 0.97, "reflectors"
	known.Patterns = []string{"one port: all packets come from UDP port 53"}
	known.Evidence = []string{"99 % of the packets are DNS answers"}
	known.Rules = []string{"destination 192.0.2.7/32 protocol udp source-port 53 then discard (drops 99.1 % of the attack, 0.04 % of normal)"}
	known.Top = []traffic.SourceShare{{Source: netip.MustParseAddr("203.0.113.9"), Share: 0.125, AS: 64500, ASName: "Example", Country: "DE", Name: "host.example.net"}}
	known.Response, known.Until, known.Capture = "drop, rtbh (step 2 of 3)", at.Add(30*time.Minute), "attack.pcap"
	known.Steps = []string{"2026-01-02T03:05:05Z step 2: 9.6 Gbit/s for 60 s, more than 5 Gbit/s"}
	rates := []Sample{{Time: at, Packets: 52_000, Bytes: 52_000_000}, {Time: at.Add(time.Minute), Packets: 1_200_000, Bytes: 1_200_000_000}}

	many := Message{Event: Changed, Key: "20260102-1+253", At: at.Add(time.Minute), Count: 254, Ongoing: 200, Hosts: 254, Networks: []string{"192.0.2.0/24"},
		Started: at, Duration: time.Minute, Peak: counts(5_000_000), Volume: counts(100_000_000), Rates: rates, Omitted: 3}
	for i := range MaxListed {
		a := known
		a.ID, a.Target = "20260102-"+strconv.Itoa(i), "192.0.2."+strconv.Itoa(i)
		many.Attacks = append(many.Attacks, a)
	}
	return []Message{
		{Event: Started, Key: bare.ID, At: at, Attacks: []Attack{bare}, Count: 1, Ongoing: 1, Hosts: 1, Networks: []string{"192.0.2.7/32"}, Started: at},
		{Event: Ended, Key: known.ID, Closes: []string{known.ID}, At: known.Ended, Attacks: []Attack{known}, Count: 1, Hosts: 1, Networks: []string{"192.0.2.7/32"},
			Started: at, Duration: known.Duration, Peak: known.Peak, Volume: known.Volume, Rates: rates},
		many,
	}
}
