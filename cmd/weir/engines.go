package main

import (
	"github.com/urfave/cli/v2"

	"weir/userspace/engines"
)

func enginesCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "engines", Usage: "say which capture engines this machine has, and the remedy for what is missing",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(cc *cli.Context) error {
			if _, err := arguments(cc); err != nil {
				return err
			}
			all := engines.List(cc.Context)
			if err := cc.Context.Err(); err != nil {
				return err
			}
			if cc.Bool("json") {
				return engines.PrintJSON(term.out, all)
			}
			return engines.PrintTable(term.out, all)
		},
	}
}
