package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/userspace/api"
	"weir/userspace/api/weirpb"
	"weir/userspace/api/weirpb/weirpbconnect"
)

func attackShowCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "all that is known of one attack: what it is made of, and rules that would stop it", ArgsUsage: "ID", Flags: controlFlags(),
		Action: func(cc *cli.Context) error {
			args, err := arguments(cc, "ID")
			if err != nil {
				return err
			}
			answer, err := call(cc, &weirpb.AttacksRequest{Id: args[0], Limit: 1}, weirpbconnect.WeirClient.Attacks)
			if err != nil {
				return err
			}
			if len(answer.GetAttacks()) == 0 {
				return fmt.Errorf("attack %s: there is none with this ID; `weir attacks` lists those that are known", args[0])
			}
			if cc.Bool("json") {
				return printMessage(term, answer.GetAttacks()[0])
			}
			return printAttack(term, answer.GetAttacks()[0])
		},
	}
}

// printAttack tells of an attack, a fact on each line.
func printAttack(term terminal, a *weirpb.Attack) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	line("attack", "%s", a.GetId())
	line("target", "%s, %s", target(a.GetTarget(), a.GetHostgroup()), api.EnumName(a.GetDirection()))
	line("phase", "%s", api.EnumName(a.GetPhase()))
	line("detected", "%s", when(stamp(a.GetDetected())))
	if a.GetEnded() != nil {
		line("ended", "%s", when(stamp(a.GetEnded())))
	}
	if a.GetManual() {
		line("why", "by hand: %s", a.GetBan().GetReason())
	} else {
		line("why", "%s: %s > %s, within %s", api.EnumName(a.GetMetric()), written(a.GetMetric(), a.GetValue()), written(a.GetMetric(), a.GetThreshold()), a.GetWindow().AsDuration())
	}
	if a.GetHeld() != "" {
		line("nothing done", "%s", a.GetHeld())
	}
	if r := a.GetBan().GetResponse(); r != nil && a.GetBan().GetLifted() == nil {
		line("response", "%d of %d: %s, since %s", r.GetRung(), r.GetRungs(), r.GetDoes(), when(stamp(r.GetSince())))
		for _, c := range r.GetHistory() {
			line("", "%s rung %d, because %s", when(stamp(c.GetAt())), c.GetRung(), c.GetWhy())
		}
	}
	if is := a.GetAnalysis(); is != nil {
		analysisLines(line, is)
	} else {
		line("class", "not known: none of its packets were sampled yet")
	}
	return term.print("%s", b.String())
}

func analysisLines(line func(name, format string, args ...any), is *weirpb.Analysis) {
	line("class", "%s, %.0f %% sure, from %d samples; sources: %s", is.GetClass(), 100*is.GetConfidence(), is.GetSamples(), is.GetSources())
	for _, v := range is.GetVectors() {
		line("", "%s, %.1f %% of its packets: %s", v.GetClass(), 100*v.GetShare(), strings.Join(v.GetEvidence(), "; "))
	}
	for _, p := range is.GetPatterns() {
		line("", "%s", p)
	}
	for _, e := range is.GetEvidence() {
		line("", "%s", e)
	}
	ruleLines(line, "rules", is.GetRules())
	if !sameRules(is.GetRules(), is.GetRouterRules()) {
		ruleLines(line, "for routers", is.GetRouterRules())
	}
}

func ruleLines(line func(name, format string, args ...any), name string, s *weirpb.RuleSet) {
	for _, r := range s.GetRules() {
		line(name, "%s", r.GetRule())
		line("", "  %s", r.GetText())
		name = ""
	}
	for _, r := range s.GetLeft() {
		line("", "left out: %s (%s)", r.GetRule(), r.GetText())
	}
	if s.GetWhy() != "" {
		line(name, "%s", s.GetWhy())
	}
}

func sameRules(a, b *weirpb.RuleSet) bool {
	if len(a.GetRules()) != len(b.GetRules()) {
		return false
	}
	for i, r := range a.GetRules() {
		if r.GetRule() != b.GetRules()[i].GetRule() {
			return false
		}
	}
	return true
}
