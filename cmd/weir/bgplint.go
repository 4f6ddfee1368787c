package main

import (
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/userspace/config"
	"weir/userspace/networks"
	"weir/userspace/rulelint"
	"weir/userspace/traffic"
)

// bgpLintCommand looks at a rule without a daemon: what speaks against it, for which router.
func bgpLintCommand(term terminal) *cli.Command {
	var names []string
	for _, p := range rulelint.Profiles() {
		names = append(names, p.Name)
	}
	return &cli.Command{
		Name: "lint", Usage: "say what speaks against a rule, and what a kind of router cannot do", ArgsUsage: "RULE",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "profile", Usage: "`ROUTER`: " + strings.Join(names, ", "), Value: "flowspec"},
			&cli.StringSliceFlag{Name: "networks", Usage: "our networks, `CIDR[,CIDR]`"},
			&cli.StringFlag{Name: "config", Usage: "our networks from the configuration `FILE`"},
			jsonFlag(),
		},
		Action: func(cc *cli.Context) error {
			args, err := arguments(cc, "RULE")
			if err != nil {
				return err
			}
			profile, err := rulelint.ProfileByName(cc.String("profile"))
			if err != nil {
				return wrong(cc, "--profile: %v", err)
			}
			ours, err := ownNetworks(cc)
			if err != nil {
				return err
			}
			rule, err := traffic.ParseRule(args[0])
			if err != nil {
				return err
			}
			findings := rulelint.Lint(rule, profile, ours.Contains)
			if err := printFindings(cc, term, findings); err != nil {
				return err
			}
			if rulelint.Refused(findings) {
				return errTold
			}
			return nil
		},
	}
}

// ownNetworks are those of --networks or of the configuration.
func ownNetworks(cc *cli.Context) (*networks.Table, error) {
	var list []networks.Network
	for _, text := range cc.StringSlice("networks") {
		p, err := config.ParsePrefix(text)
		if err != nil {
			return nil, wrong(cc, "--networks: %v", err)
		}
		list = append(list, networks.Network{Prefix: p})
	}
	if path := cc.String("config"); path != "" {
		cfg, err := config.Load(path)
		if err != nil {
			return nil, err
		}
		for _, m := range cfg.Members(nil) {
			list = append(list, networks.Network{Prefix: m.Prefix})
		}
	}
	if len(list) == 0 {
		return nil, wrong(cc, "which networks are ours? give --networks CIDR[,CIDR] or --config FILE")
	}
	return networks.NewTable(list, nil), nil
}

func printFindings(cc *cli.Context, term terminal, findings []rulelint.Finding) error {
	if cc.Bool("json") {
		return printJSON(term, map[string]any{"findings": append([]rulelint.Finding{}, findings...)})
	}
	lines := "nothing speaks against it\n"
	if len(findings) > 0 {
		lines = ""
	}
	for _, f := range findings {
		lines += f.String() + "\n"
	}
	_, err := io.WriteString(term.out, lines)
	return err
}
