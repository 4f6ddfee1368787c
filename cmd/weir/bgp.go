package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"weir/userspace/api"
	"weir/userspace/api/weirpb"
	"weir/userspace/api/weirpb/weirpbconnect"
)

func bgpCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "bgp", Usage: "sessions with routers and what they are told, and announcements by hand",
		Subcommands: []*cli.Command{bgpPeersCommand(term), bgpRoutesCommand(term), bgpAnnounceCommand(term), bgpWithdrawCommand(term), bgpLintCommand(term)},
	}
}

func bgpPeersCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "peers", Usage: "the sessions with routers, with their counters and last errors",
		Flags: controlFlags(),
		Action: func(cc *cli.Context) error {
			if _, err := arguments(cc); err != nil {
				return err
			}
			answer, err := call(cc, &weirpb.BgpPeersRequest{}, weirpbconnect.WeirClient.BgpPeers)
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				return printMessage(term, answer)
			}
			return printPeers(term, answer)
		},
	}
}

func bgpRoutesCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "routes", Usage: "what is announced to whom, and what guards keep back",
		Flags: controlFlags(
			&cli.StringFlag{Name: "peer", Usage: "only what the peer `NAME` is told"},
			&cli.IntFlag{Name: "limit", Usage: "at most `N` routes", Value: api.MaxRows}),
		Action: func(cc *cli.Context) error {
			if _, err := arguments(cc); err != nil {
				return err
			}
			limit, err := rows(cc)
			if err != nil {
				return err
			}
			answer, err := call(cc, &weirpb.BgpRoutesRequest{Peer: cc.String("peer"), Limit: limit}, weirpbconnect.WeirClient.BgpRoutes)
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				return printMessage(term, answer)
			}
			return printRoutes(term, answer)
		},
	}
}

func bgpAnnounceCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "announce", Usage: "announce a prefix or a FlowSpec rule by hand, until it is withdrawn", ArgsUsage: "PREFIX",
		Description: "A prefix by what an action of the configuration says (--action), or spelled out (--next-hop, --community, --peer).\n" +
			"A rule (--rule) in place of PREFIX, such as 'destination 192.0.2.1/32 protocol udp then discard'.",
		Flags: controlFlags(
			&cli.StringFlag{Name: "action", Usage: "what the action `NAME` announces about the prefix"},
			&cli.StringFlag{Name: "next-hop", Usage: "next hop `ADDRESS`, of the prefix's family"},
			&cli.StringSliceFlag{Name: "community", Usage: "`COMMUNITY[,COMMUNITY]` such as 65535:666 or no-export"},
			&cli.StringSliceFlag{Name: "peer", Usage: "only to the peers `NAME[,NAME]`"},
			&cli.StringFlag{Name: "rule", Usage: "instead of PREFIX, the FlowSpec rule `TEXT`"}),
		Action: func(cc *cli.Context) error {
			names := []string{"PREFIX"}
			if cc.String("rule") != "" {
				names = nil
			}
			args, err := arguments(cc, names...)
			if err != nil {
				return err
			}
			request := &weirpb.BgpAnnounceRequest{
				Prefix: strings.Join(args, ""), Action: cc.String("action"), Rule: cc.String("rule"), NextHop: cc.String("next-hop"),
				Communities: trimmed(cc.StringSlice("community")), Peers: trimmed(cc.StringSlice("peer")),
			}
			if err := howAnnounced(cc, request); err != nil {
				return err
			}
			answer, err := call(cc, request, weirpbconnect.WeirClient.BgpAnnounce)
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				return printMessage(term, answer)
			}
			return printDone(term, "announced", answer.GetRoutes())
		},
	}
}

// howAnnounced refuses flags that contradict each other, in the words of the command line.
func howAnnounced(cc *cli.Context, m *weirpb.BgpAnnounceRequest) error {
	switch {
	case m.GetRule() != "" && (m.GetAction() != "" || m.GetNextHop() != ""):
		return wrong(cc, "--rule: expected no --action and no --next-hop beside it")
	case m.GetRule() != "":
		return nil
	case m.GetAction() == "" && m.GetNextHop() == "":
		return wrong(cc, "how is it announced? give --action NAME, or --next-hop ADDRESS")
	case m.GetAction() != "" && (m.GetNextHop() != "" || len(m.GetCommunities()) > 0 || len(m.GetPeers()) > 0):
		return wrong(cc, "--action %q: expected no --next-hop, --community or --peer beside it: the action says them", m.GetAction())
	}
	return nil
}

func bgpWithdrawCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "withdraw", Usage: "take back what was announced by hand", ArgsUsage: "PREFIX|RULE|KEY",
		Description: "PREFIX or RULE (quoted, with its actions) means all announcements of it, whoever was told.\n" +
			"KEY means one of them: 'FAMILY PREFIX', or 'FAMILY PREFIX to PEER,PEER' with the names in alphabetical order.",
		Flags: controlFlags(),
		Action: func(cc *cli.Context) error {
			args, err := arguments(cc, "PREFIX|RULE|KEY")
			if err != nil {
				return err
			}
			answer, err := call(cc, &weirpb.BgpWithdrawRequest{Route: args[0]}, weirpbconnect.WeirClient.BgpWithdraw)
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				return printMessage(term, answer)
			}
			return printDone(term, "withdrawn", answer.GetRoutes())
		},
	}
}

func trimmed(list []string) []string {
	var out []string
	for _, word := range list {
		out = append(out, strings.TrimSpace(word))
	}
	return out
}
