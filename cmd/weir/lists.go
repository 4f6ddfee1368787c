package main

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"weir/userspace/api"
	"weir/userspace/api/weirpb"
)

func printHosts(term terminal, answer *weirpb.HostsResponse) error {
	if len(answer.GetHosts()) == 0 {
		return term.print("no hosts\n")
	}
	var table [][]cell
	for _, h := range answer.GetHosts() {
		state := text("-")
		switch {
		case h.GetBanned():
			state = text("banned").in(bad)
		case h.GetAttackId() != "":
			state = text("under attack").in(warn)
		}
		r := h.GetRate()
		table = append(table, append(append([]cell{text(h.GetHost()), text(h.GetHostgroup()), text(api.EnumName(h.GetDirection()))}, rates(r)...),
			number(si(float64(r.GetTcp().GetPackets()))), number(si(float64(r.GetUdp().GetPackets()))), number(si(float64(r.GetIcmp().GetPackets()))), state))
	}
	return term.table([]string{"HOST", "HOSTGROUP", "DIRECTION", "PPS", "BIT/S", "FLOWS/S", "DROPPED PPS", "TCP PPS", "UDP PPS", "ICMP PPS", "STATE"}, table)
}

func printAttacks(term terminal, list []*weirpb.Attack) error {
	if len(list) == 0 {
		return term.print("no attacks\n")
	}
	var table [][]cell
	for _, a := range list {
		table = append(table, []cell{
			text(a.GetId()), text(target(a.GetTarget(), a.GetHostgroup())), text(api.EnumName(a.GetDirection())), phase(a), text(class(a)), text(api.EnumName(a.GetMetric())),
			number(written(a.GetMetric(), a.GetValue())), number(written(a.GetMetric(), a.GetThreshold())),
			text(when(stamp(a.GetDetected()))), text(when(stamp(a.GetEnded()))), text(a.GetHeld()),
		})
	}
	return term.table([]string{"ID", "TARGET", "DIRECTION", "PHASE", "CLASS", "METRIC", "VALUE", "THRESHOLD", "DETECTED", "ENDED", "NOTHING DONE BECAUSE"}, table)
}

// class is what an attack is made of, as far as that is known.
func class(a *weirpb.Attack) string {
	if is := a.GetAnalysis(); is != nil {
		return is.GetClass()
	}
	return "-"
}

func printBans(term terminal, list []*weirpb.BanEntry) error {
	if len(list) == 0 {
		return term.print("no bans\n")
	}
	var table [][]cell
	for _, b := range list {
		kind := "automatic"
		if b.GetManual() {
			kind = "by hand"
		}
		until := when(stamp(b.GetUntil()))
		if b.GetUntil() == nil {
			until = "unbanned by hand"
		}
		table = append(table, []cell{
			text(target(b.GetTarget(), b.GetHostgroup())), text(api.EnumName(b.GetDirection())), effect(b), text(kind),
			text(when(stamp(b.GetSince()))), text(until), number(si(float64(b.GetDropped().GetPackets()))), text(b.GetReason()),
		})
	}
	return term.table([]string{"TARGET", "DIRECTION", "EFFECT", "KIND", "SINCE", "UNTIL AT LEAST", "DROPPED", "REASON"}, table)
}

// effect says what a ban does to its target's packets.
func effect(b *weirpb.BanEntry) cell {
	switch {
	case b.GetLifted() != nil:
		return text("lifted").in(good)
	case b.GetDropping():
		return text("drop").in(bad)
	case b.GetDryRun():
		return text("dry run").in(warn)
	case b.GetNotified():
		return text("script only")
	}
	return text("none").in(warn)
}

// attackLine is one change of an attack as a sentence.
func attackLine(term terminal, a *weirpb.Attack) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %s %s", time.Now().Format("15:04:05.000"), term.paint(phase(a)), target(printable(a.GetTarget()), printable(a.GetHostgroup())), api.EnumName(a.GetDirection()))
	if a.GetMetric() != weirpb.Metric_METRIC_UNSPECIFIED {
		fmt.Fprintf(&b, "  %s %s > %s", api.EnumName(a.GetMetric()), written(a.GetMetric(), a.GetValue()), written(a.GetMetric(), a.GetThreshold()))
	}
	if a.GetHeld() != "" {
		fmt.Fprintf(&b, "  (%s)", printable(a.GetHeld()))
	}
	return b.String()
}

func phase(a *weirpb.Attack) cell {
	c := text(api.EnumName(a.GetPhase()))
	switch a.GetPhase() {
	case weirpb.Phase_PHASE_ACTIVE:
		c.style = bad
	case weirpb.Phase_PHASE_MITIGATED, weirpb.Phase_PHASE_COOLING:
		c.style = warn
	case weirpb.Phase_PHASE_OVER:
		c.style = good
	}
	return c
}

// target names what an attack or ban is on; without address it is a hostgroup as a whole.
func target(address, hostgroup string) string {
	if address == "" || address == "-" {
		return "hostgroup " + hostgroup
	}
	return address
}

// written is a rate with its unit: "1.20Mpps", "3.00Gbit/s", "3.50kflows/s", and "-" for a ban by hand.
func written(m weirpb.Metric, v float64) string {
	switch name := api.EnumName(m); {
	case name == "":
		return "-"
	case strings.HasSuffix(name, "mbps"):
		return si(v*1e6) + "bit/s"
	case name == "flows":
		return si(v) + "flows/s"
	}
	return si(v) + "pps"
}

// stamp is the zero time for an absent timestamp.
func stamp(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
