package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/userspace/api"
	"weir/userspace/api/weirpb"
	"weir/userspace/api/weirpb/weirpbconnect"
)

func statusCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "interfaces, traffic, attacks, bans, losses, flow records and BGP sessions of the daemon",
		Flags: controlFlags(),
		Action: func(cc *cli.Context) error {
			if _, err := arguments(cc); err != nil {
				return err
			}
			answer, err := call(cc, &weirpb.StatusRequest{}, weirpbconnect.WeirClient.Status)
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				return printMessage(term, answer)
			}
			return printStatus(term, answer)
		},
	}
}

func printStatus(term terminal, s *weirpb.StatusResponse) error {
	up := s.GetNow().AsTime().Sub(s.GetStarted().AsTime()).Round(time.Second)
	err := term.print("weir %s, up %s, configuration %s of %s\n", printable(s.GetVersion()), up, printable(s.GetConfigPath()), when(s.GetConfigLoaded().AsTime()))
	for _, note := range []struct {
		on   bool
		text string
	}{
		{s.GetConfigError() != "", "the last reload was refused, the configuration before is in force: " + s.GetConfigError()},
		{s.GetWarmingUp(), "warming up: no attack is declared yet"},
		{s.GetDryRun(), "dry run: attacks are declared, nothing is dropped"},
		{s.GetKillSwitch(), "kill switch: no mitigation is started"},
	} {
		if note.on && err == nil {
			err = term.print("%s\n", term.paint(text(note.text).in(warn)))
		}
	}
	if err == nil {
		err = term.print("\n")
	}
	if err == nil {
		err = printInterfaces(term, s.GetInterfaces())
	}
	if err == nil {
		err = printCaptures(term, s.GetInterfaces())
	}
	if err == nil {
		err = printTotals(term, s.GetDirections())
	}
	if err != nil {
		return err
	}
	attacks := cell{text: fmt.Sprintf("%d active", s.GetAttacksActive())}
	if s.GetAttacksActive() > 0 {
		attacks.style = bad
	}
	err = term.print("attacks  %s, %d since the start\nbans     %d active, %d since the start\nhosts    %s of %s cells in use, %d networks\nlosses   %s\n",
		term.paint(attacks), s.GetAttacksTotal(), s.GetBansActive(), s.GetBansTotal(),
		si(float64(s.GetHosts())), si(float64(s.GetHostCapacity())), s.GetNetworks(), losses(term, s.GetLosses()))
	if err == nil {
		err = printCollector(term, s.GetFlows())
	}
	if err != nil {
		return err
	}
	return printSessions(term, s.GetBgp())
}

func printInterfaces(term terminal, list []*weirpb.Interface) error {
	if len(list) == 0 {
		return term.print("no interfaces\n\n")
	}
	var table [][]cell
	for _, i := range list {
		state := text(i.GetMode()).in(good)
		if !i.GetAttached() {
			state = text("not attached").in(bad)
		}
		role := i.GetRole()
		if i.GetPair() != "" {
			role += " to " + i.GetPair()
		}
		egress := "no"
		if i.GetEgress() {
			egress = "yes"
		}
		table = append(table, []cell{text(i.GetName()), text(i.GetEngine()), text(role), state, text(egress), text(i.GetWhy())})
	}
	if err := term.table([]string{"INTERFACE", "ENGINE", "ROLE", "MODE", "EGRESS", "WHY"}, table); err != nil {
		return err
	}
	return term.print("\n")
}

func printTotals(term terminal, list []*weirpb.DirectionTotal) error {
	var table [][]cell
	for _, d := range list {
		rate, total := d.GetRate(), d.GetTotal()
		table = append(table, append([]cell{text(api.EnumName(d.GetDirection()))}, append(rates(rate),
			number(si(float64(total.GetTotal().GetPackets()))), number(si(float64(total.GetTotal().GetBytes()))), number(si(float64(total.GetDropped().GetPackets()))))...))
	}
	if err := term.table([]string{"DIRECTION", "PPS", "BIT/S", "FLOWS/S", "DROPPED PPS", "PACKETS", "BYTES", "DROPPED"}, table); err != nil {
		return err
	}
	return term.print("\n")
}

// rates are the four columns that describe traffic per second.
func rates(c *weirpb.Counts) []cell {
	dropped := number(si(float64(c.GetDropped().GetPackets())))
	if c.GetDropped().GetPackets() > 0 {
		dropped.style = warn
	}
	return []cell{
		number(si(float64(c.GetTotal().GetPackets()))), number(si(float64(c.GetTotal().GetBytes()) * 8)), number(si(float64(c.GetFlows()))), dropped,
	}
}

func losses(term terminal, list []*weirpb.Tally) string {
	var some []string
	for _, l := range list {
		if l.GetCount() > 0 {
			some = append(some, fmt.Sprintf("%s %d", printable(l.GetName()), l.GetCount()))
		}
	}
	if len(some) == 0 {
		return term.paint(cell{text: "none", style: good})
	}
	return term.paint(cell{text: strings.Join(some, ", "), style: warn})
}
