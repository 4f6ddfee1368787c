package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"weir/userspace/api"
	"weir/userspace/api/weirpb"
	"weir/userspace/api/weirpb/weirpbconnect"
	"weir/userspace/traffic"
)

// controlFlags are those of every command that talks to the daemon.
func controlFlags(more ...cli.Flag) []cli.Flag {
	return append(more, &cli.StringFlag{Name: "socket", Usage: "the daemon's control socket, `PATH`", Value: api.DefaultSocket}, jsonFlag())
}

func directionFlag() cli.Flag {
	return &cli.StringFlag{Name: "direction", Usage: "`DIRECTION` incoming, outgoing or both", Value: "both"}
}

func direction(cc *cli.Context) (weirpb.Direction, error) {
	switch name := cc.String("direction"); name {
	case "both":
		return weirpb.Direction_DIRECTION_UNSPECIFIED, nil
	case "incoming":
		return weirpb.Direction_DIRECTION_INCOMING, nil
	case "outgoing":
		return weirpb.Direction_DIRECTION_OUTGOING, nil
	default:
		return 0, wrong(cc, "--direction %q: expected incoming, outgoing or both", name)
	}
}

// rows reads --limit.
func rows(cc *cli.Context) (uint32, error) {
	n := cc.Int("limit")
	if n < 1 || n > api.MaxRows {
		return 0, wrong(cc, "--limit %d: expected 1 to %d", n, api.MaxRows)
	}
	return uint32(n), nil
}

// call makes one call of the API and returns its answer.
func call[Q, A any](cc *cli.Context, request *Q, method func(weirpbconnect.WeirClient, context.Context, *connect.Request[Q]) (*connect.Response[A], error)) (*A, error) {
	ctx, cancel := context.WithTimeout(cc.Context, callTimeout)
	defer cancel()
	client, err := api.Dial(ctx, cc.String("socket"))
	if err != nil {
		return nil, err
	}
	response, err := method(client, ctx, connect.NewRequest(request))
	if err != nil {
		return nil, explain(err)
	}
	return response.Msg, nil
}

// explain keeps the daemon's own words of an error.
func explain(err error) error {
	var refused *connect.Error
	switch {
	case connect.CodeOf(err) == connect.CodeDeadlineExceeded:
		return fmt.Errorf("the daemon did not answer within %s", callTimeout)
	case errors.As(err, &refused):
		return errors.New(printable(refused.Message()))
	}
	return err
}

// printMessage prints an answer of the API as one line of JSON.
func printMessage(term terminal, m proto.Message) error {
	line, err := api.AppendJSON(nil, m)
	if err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return term.print("%s\n", line)
}

func hostsCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "hosts", Usage: "the busiest hosts",
		Flags: controlFlags(directionFlag(),
			&cli.StringFlag{Name: "order-by", Usage: "highest `METRIC` first, such as pps, mbps, flows, tcp_syn_pps", Value: "pps"},
			&cli.IntFlag{Name: "limit", Usage: "at most `N` rows", Value: 20},
			&cli.StringFlag{Name: "prefix", Usage: "only this address or those in `CIDR`"},
			&cli.StringFlag{Name: "hostgroup", Usage: "only those of hostgroup `NAME`"},
			&cli.BoolFlag{Name: "banned", Usage: "only banned ones"}),
		Action: func(cc *cli.Context) error {
			if _, err := arguments(cc); err != nil {
				return err
			}
			way, err := direction(cc)
			if err != nil {
				return err
			}
			metric, err := traffic.ParseMetric(cc.String("order-by"))
			if err != nil {
				return wrong(cc, "--order-by: %w", err)
			}
			limit, err := rows(cc)
			if err != nil {
				return err
			}
			answer, err := call(cc, &weirpb.HostsRequest{
				Direction: way, OrderBy: weirpb.Metric(metric) + 1, Limit: limit,
				Prefix: cc.String("prefix"), Hostgroup: cc.String("hostgroup"), BannedOnly: cc.Bool("banned"),
			}, weirpbconnect.WeirClient.Hosts)
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				return printMessage(term, answer)
			}
			return printHosts(term, answer)
		},
	}
}

func attacksCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "attacks", Usage: "attacks, the latest first",
		Subcommands: []*cli.Command{attackShowCommand(term), attackCaptureCommand(term)},
		Flags: controlFlags(
			&cli.BoolFlag{Name: "active", Usage: "without those that are over"},
			&cli.StringFlag{Name: "id", Usage: "only the one with this `ID`"},
			&cli.IntFlag{Name: "limit", Usage: "at most `N` rows", Value: 100},
			&cli.DurationFlag{Name: "since", Usage: "only those of the last `DURATION`, such as 24h"},
			&cli.BoolFlag{Name: "watch", Usage: "those active now, then every change until interrupted"}),
		Action: func(cc *cli.Context) error {
			if _, err := arguments(cc); err != nil {
				return err
			}
			limit, err := rows(cc)
			if err != nil {
				return err
			}
			if cc.Bool("watch") {
				return watch(cc, term)
			}
			request := &weirpb.AttacksRequest{Id: cc.String("id"), ActiveOnly: cc.Bool("active"), Limit: limit}
			if cc.IsSet("since") {
				if cc.Duration("since") <= 0 {
					return wrong(cc, "--since %s: expected more than 0", cc.Duration("since"))
				}
				request.Since = timestamppb.New(time.Now().Add(-cc.Duration("since")))
			}
			answer, err := call(cc, request, weirpbconnect.WeirClient.Attacks)
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				return printMessage(term, answer)
			}
			return printAttacks(term, answer.GetAttacks())
		},
	}
}

// watch prints changes as they come; being interrupted is how it ends.
func watch(cc *cli.Context, term terminal) error {
	client, err := api.Dial(cc.Context, cc.String("socket"))
	if err != nil {
		return err
	}
	stream, err := client.WatchAttacks(cc.Context, connect.NewRequest(&weirpb.WatchAttacksRequest{}))
	if err != nil {
		return explain(err)
	}
	defer stream.Close()
	for stream.Receive() {
		message := stream.Msg()
		switch {
		case message.GetAttack() == nil:
		case cc.Bool("json"):
			err = printMessage(term, message)
		default:
			if message.GetMissed() > 0 {
				complain(term.err, "weir: %d changes missed: this terminal is too slow\n", message.GetMissed())
			}
			err = term.print("%s\n", attackLine(term, message.GetAttack()))
		}
		if err != nil {
			return err
		}
	}
	if cc.Context.Err() != nil {
		return nil
	}
	if err := stream.Err(); err != nil {
		return explain(err)
	}
	return errors.New("the daemon ended the watch")
}

func bansCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "bans", Usage: "what is banned now",
		Flags: controlFlags(),
		Action: func(cc *cli.Context) error {
			if _, err := arguments(cc); err != nil {
				return err
			}
			answer, err := call(cc, &weirpb.BansRequest{}, weirpbconnect.WeirClient.Bans)
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				return printMessage(term, answer)
			}
			return printBans(term, answer.GetBans())
		},
	}
}

func banCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "ban", Usage: "drop the traffic of a host or prefix", ArgsUsage: "IP",
		Flags: controlFlags(directionFlag(),
			&cli.DurationFlag{Name: "for", Usage: "how long, `DURATION` such as 30m (default: until unbanned)"},
			&cli.StringFlag{Name: "reason", Usage: "why, for the record: `TEXT`"}),
		Action: func(cc *cli.Context) error {
			args, err := arguments(cc, "IP")
			if err != nil {
				return err
			}
			way, err := direction(cc)
			if err != nil {
				return err
			}
			request := &weirpb.BanRequest{Target: args[0], Direction: way, Reason: cc.String("reason")}
			if cc.IsSet("for") {
				request.Period = durationpb.New(cc.Duration("for"))
			}
			answer, err := call(cc, request, weirpbconnect.WeirClient.Ban)
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				return printMessage(term, answer)
			}
			return printBans(term, answer.GetBans())
		},
	}
}

func unbanCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "unban", Usage: "let the traffic of a banned host or prefix pass again", ArgsUsage: "IP",
		Flags: controlFlags(&cli.StringFlag{Name: "hostgroup", Usage: "instead of IP, the hostgroup `NAME` as a whole"}),
		Action: func(cc *cli.Context) error {
			request := &weirpb.UnbanRequest{Hostgroup: cc.String("hostgroup")}
			var names []string
			if request.GetHostgroup() == "" {
				names = []string{"IP"}
			}
			args, err := arguments(cc, names...)
			if err != nil {
				return err
			}
			request.Target = strings.Join(args, "")
			answer, err := call(cc, request, weirpbconnect.WeirClient.Unban)
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				return printMessage(term, answer)
			}
			return printBans(term, answer.GetBans())
		},
	}
}
