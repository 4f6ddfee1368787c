package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/types/known/durationpb"

	"weir/userspace/api/weirpb"
	"weir/userspace/api/weirpb/weirpbconnect"
	"weir/userspace/replay"
	"weir/userspace/traffic"
)

func rulesCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "rules", Usage: "rules that the kernel applies, put in force by hand or from what an attack is made of",
		Subcommands: []*cli.Command{ruleListCommand(term), ruleAddCommand(term), ruleDeleteCommand(term), ruleTestCommand(term)},
	}
}

func ruleListCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "the rules in force, and what they have met", Flags: controlFlags(),
		Action: func(cc *cli.Context) error {
			if _, err := arguments(cc); err != nil {
				return err
			}
			answer, err := call(cc, &weirpb.RulesRequest{}, weirpbconnect.WeirClient.Rules)
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				return printMessage(term, answer)
			}
			if answer.GetShadow() {
				if err := term.print("dry run or kill switch: all rules only count\n"); err != nil {
					return err
				}
			}
			return printRules(term, answer.GetRules())
		},
	}
}

func ruleAddCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "add", Usage: "put a rule in force in XDP, or those that the analysis of an attack has found", ArgsUsage: "RULE",
		Description: "RULE is one argument, in the text form of docs/RULES.md. With --attack there is none.",
		Flags: controlFlags(
			&cli.StringFlag{Name: "attack", Usage: "the rules against the attack with this `ID`"},
			&cli.DurationFlag{Name: "for", Usage: "for a `DURATION` such as 30m; without it until they are deleted"},
			&cli.BoolFlag{Name: "shadow", Usage: "only count what they meet"}),
		Action: func(cc *cli.Context) error {
			request := &weirpb.AddRulesRequest{AttackId: cc.String("attack"), Shadow: cc.Bool("shadow")}
			names := []string{"RULE"}
			if request.AttackId != "" {
				names = nil
			}
			args, err := arguments(cc, names...)
			if err != nil {
				return err
			}
			request.Rules = args
			if cc.IsSet("for") {
				request.Period = durationpb.New(cc.Duration("for"))
			}
			answer, err := call(cc, request, weirpbconnect.WeirClient.AddRules)
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				return printMessage(term, answer)
			}
			return printRules(term, answer.GetRules())
		},
	}
}

func ruleDeleteCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "del", Usage: "take rules out of force", ArgsUsage: "ID...",
		Flags: controlFlags(&cli.BoolFlag{Name: "all", Usage: "every rule"}),
		Action: func(cc *cli.Context) error {
			request := &weirpb.DeleteRulesRequest{All: cc.Bool("all")}
			for _, text := range cc.Args().Slice() {
				id, err := strconv.ParseUint(text, 10, 64)
				if err != nil {
					return wrong(cc, "%q: expected the number of a rule, as `weir rules list` shows it", text)
				}
				request.Ids = append(request.Ids, id)
			}
			if request.GetAll() == (len(request.GetIds()) > 0) {
				return &usageError{commandPath(cc), errors.New("which rules? give their numbers, or --all")}
			}
			answer, err := call(cc, request, weirpbconnect.WeirClient.DeleteRules)
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				return printMessage(term, answer)
			}
			return printRules(term, answer.GetRules())
		},
	}
}

func printRules(term terminal, list []*weirpb.AppliedRule) error {
	if len(list) == 0 {
		return term.print("no rules\n")
	}
	var table [][]cell
	for _, r := range list {
		mode, until, origin := text("enforced"), "deleted by hand", "by hand"
		if r.GetShadow() {
			mode = text("shadow").in(warn)
		}
		if r.GetAutomatic() {
			until = "while needed"
		} else if r.GetUntil() != nil {
			until = when(stamp(r.GetUntil()))
		}
		if r.GetAttackId() != "" {
			origin = r.GetAttackId()
		}
		table = append(table, []cell{
			text(fmt.Sprint(r.GetId())), mode, number(si(float64(r.GetPackets()))), number(si(float64(r.GetBytes()))), text(until), text(origin), text(r.GetRule()),
		})
	}
	return term.table([]string{"ID", "MODE", "PACKETS", "BYTES", "UNTIL", "FROM", "RULE"}, table)
}

func ruleTestCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "test", Usage: "say how much of a capture a rule matches", ArgsUsage: "RULE FILE",
		Description: "RULE is one argument, in the text form of docs/RULES.md; FILE is a pcap or pcapng capture.",
		Flags:       []cli.Flag{jsonFlag()},
		Action: func(cc *cli.Context) error {
			args, err := arguments(cc, "RULE", "FILE")
			if err != nil {
				return err
			}
			rule, err := traffic.ParseRule(args[0])
			if err != nil {
				return err
			}
			got, err := replay.TestRule(cc.Context, rule, args[1])
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				line, err := json.Marshal(got)
				if err != nil {
					return err
				}
				return term.print("%s\n", line)
			}
			return term.print("%s\nmatches %d of %d packets (%.2f %%) and %d of %d bytes; %d packets could not be read\n",
				got.Rule, got.Matched, got.Packets, 100*got.Share, got.MatchedBytes, got.Bytes, got.Unparsed)
		},
	}
}
