package main

import (
	"encoding/json"

	"github.com/urfave/cli/v2"

	"weir/userspace/replay"
	"weir/userspace/traffic"
)

func rulesCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "rules", Usage: "try out rules",
		Subcommands: []*cli.Command{ruleTestCommand(term)},
	}
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
