package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"weir/userspace/api/weirpb"
)

const notConfigured = "BGP is not configured\n"

func printPeers(term terminal, answer *weirpb.BgpPeersResponse) error {
	if !answer.GetConfigured() {
		return term.print(notConfigured)
	}
	if slices.ContainsFunc(answer.GetPeers(), spoken) {
		if err := term.print("%s\n\n", speakerLine(term, answer.GetSpeaker())); err != nil {
			return err
		}
	}
	if len(answer.GetPeers()) == 0 {
		return term.print("no peers\n")
	}
	var table [][]cell
	for _, p := range answer.GetPeers() {
		announced, refused := routeCounts(p)
		kept := number(strconv.FormatUint(refused, 10))
		if refused > 0 {
			kept.style = warn
		}
		table = append(table, []cell{
			text(p.GetName()), text(p.GetKind()), text(p.GetAddress()), number(asNumber(p.GetAs())), session(p), text(when(stamp(p.GetSince()))),
			number(strconv.FormatUint(announced, 10)), kept, number(strconv.FormatUint(p.GetUps(), 10)),
			number(si(float64(p.GetSent()))), number(si(float64(p.GetReceived()))), number(si(float64(p.GetMalformed()))),
			text(strings.Join(p.GetFamilies(), ",")), text(lastError(p)),
		})
	}
	return term.table([]string{"PEER", "KIND", "ADDRESS", "AS", "SESSION", "SINCE", "ROUTES", "REFUSED", "UPS", "SENT", "RECEIVED", "MALFORMED", "FAMILIES", "LAST ERROR"}, table)
}

// spoken reports whether the peer has a session with the speaker, and not another program.
func spoken(p *weirpb.BgpPeer) bool { return p.GetKind() == "peer" }

func speakerLine(term terminal, s *weirpb.BgpSpeaker) string {
	line := "speaker " + term.paint(text("down").in(bad))
	if s.GetUp() {
		line = fmt.Sprintf("speaker %s, process %d", term.paint(text("up").in(good)), s.GetPid())
	}
	if n := s.GetRestarts(); n > 0 {
		line += fmt.Sprintf(", restarts %d", n)
	}
	if s.GetError() != "" {
		line += ": " + printable(s.GetError())
	}
	return line
}

func session(p *weirpb.BgpPeer) cell {
	c := text(p.GetSession())
	switch p.GetSession() {
	case "established", "connected":
		c.style = good
	default:
		c.style = bad
	}
	return c
}

// routeCounts sums up all families.
func routeCounts(p *weirpb.BgpPeer) (announced, refused uint64) {
	for _, f := range p.GetRoutes() {
		announced += f.GetAnnounced()
		refused += f.GetRefused()
	}
	return announced, refused
}

func asNumber(as uint32) string {
	if as == 0 {
		return "-"
	}
	return strconv.FormatUint(uint64(as), 10)
}

// lastError is what went wrong last, with its time.
func lastError(p *weirpb.BgpPeer) string {
	if p.GetError() == "" || p.GetErrorAt() == nil {
		return p.GetError()
	}
	return when(stamp(p.GetErrorAt())) + ": " + p.GetError()
}

func printRoutes(term terminal, answer *weirpb.BgpRoutesResponse) error {
	if len(answer.GetRoutes()) == 0 {
		if err := term.print("no routes\n"); err != nil {
			return err
		}
	} else if err := term.table([]string{"ROUTE", "FAMILY", "OWNER", "PEER", "SINCE", "STATE"}, routeRows(answer.GetRoutes())); err != nil {
		return err
	}
	if err := cutOff(term, "routes", len(answer.GetRoutes()), answer.GetTotal()); err != nil || len(answer.GetRefused()) == 0 {
		return err
	}
	var table [][]cell
	for _, r := range answer.GetRefused() {
		peer := r.GetPeer()
		if peer == "" {
			peer = "all"
		}
		table = append(table, []cell{text(r.GetRoute()), text(r.GetOwner()), text(r.GetAction()), text(peer), text(r.GetReason()).in(warn), text(r.GetDetail())})
	}
	if err := term.print("\n"); err != nil {
		return err
	}
	if err := term.table([]string{"NOT ANNOUNCED", "OWNER", "ACTION", "PEER", "REASON", "DETAIL"}, table); err != nil {
		return err
	}
	return cutOff(term, "refusals", len(answer.GetRefused()), answer.GetRefusedTotal())
}

// routeRows has one row for each peer of a route, and one for a route that nobody can be told.
func routeRows(list []*weirpb.BgpRoute) [][]cell {
	var table [][]cell
	for _, r := range list {
		row := []cell{text(r.GetRoute()), text(r.GetFamily()), text(r.GetOwner())}
		if r.GetError() != "" || len(r.GetPeers()) == 0 {
			state := text("nobody is told").in(warn)
			if r.GetError() != "" {
				state = text(r.GetError()).in(bad)
			}
			table = append(table, append(slices.Clone(row), text("-"), text("-"), state))
		}
		for _, p := range r.GetPeers() {
			table = append(table, append(slices.Clone(row), text(p.GetName()), text(when(stamp(p.GetSince()))), routeState(p)))
		}
	}
	return table
}

func routeState(p *weirpb.BgpRoutePeer) cell {
	switch {
	case p.GetError() != "":
		return text(p.GetError()).in(bad)
	case p.GetSince() == nil:
		return text("waiting").in(warn)
	}
	return text("announced").in(good)
}

// cutOff says that there is more than what is shown.
func cutOff(term terminal, what string, shown int, total uint64) error {
	if uint64(shown) >= total {
		return nil
	}
	return term.print("%d of %d %s shown\n", shown, total, what)
}

func printDone(term terminal, done string, routes []string) error {
	for _, route := range routes {
		if err := term.print("%s %s\n", done, printable(route)); err != nil {
			return err
		}
	}
	return nil
}

// printSessions is the part of the status about BGP: one line for each peer, and one for the speaker when it is down.
func printSessions(term terminal, answer *weirpb.BgpPeersResponse) error {
	if slices.ContainsFunc(answer.GetPeers(), spoken) && !answer.GetSpeaker().GetUp() {
		if err := term.print("bgp      %s\n", speakerLine(term, answer.GetSpeaker())); err != nil {
			return err
		}
	}
	for _, p := range answer.GetPeers() {
		line := printable(p.GetName()) + " " + term.paint(session(p))
		if p.GetSince() != nil {
			line += " since " + when(stamp(p.GetSince()))
		}
		announced, refused := routeCounts(p)
		line += fmt.Sprintf(", routes %d", announced)
		if refused > 0 {
			line += ", " + term.paint(cell{text: fmt.Sprintf("%d refused", refused), style: warn})
		}
		if p.GetError() != "" {
			line += ", last error " + printable(lastError(p))
		}
		if err := term.print("bgp      %s\n", line); err != nil {
			return err
		}
	}
	return nil
}
