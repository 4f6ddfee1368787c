package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/userspace/bench"
)

func runCommand(run func(context.Context, runOptions) error) *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "run the daemon in the foreground",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "configuration `FILE`", Value: defaultConfig},
			&cli.StringFlag{Name: "log-level", Usage: "`LEVEL` debug, info, warn or error instead of the configured one"},
			&cli.StringFlag{Name: "log-format", Usage: "`FORMAT` text or json instead of the configured one"},
		},
		Action: func(cc *cli.Context) error {
			if _, err := arguments(cc); err != nil {
				return err
			}
			o := runOptions{ConfigPath: cc.String("config"), LogLevel: cc.String("log-level"), LogFormat: cc.String("log-format")}
			if levels := []string{"", "debug", "info", "warn", "error"}; !slices.Contains(levels, o.LogLevel) {
				return wrong(cc, "--log-level %q: expected debug, info, warn or error", o.LogLevel)
			}
			if formats := []string{"", "text", "json"}; !slices.Contains(formats, o.LogFormat) {
				return wrong(cc, "--log-format %q: expected text or json", o.LogFormat)
			}
			if run == nil {
				return notHere(cc)
			}
			return run(cc.Context, o)
		},
	}
}

func demoCommand(demo func(context.Context, demoOptions, io.Writer) error, term terminal) *cli.Command {
	return &cli.Command{
		Name: "demo", Usage: "show a whole attack on this machine, from flood to drop, in under a minute",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(cc *cli.Context) error {
			if _, err := arguments(cc); err != nil {
				return err
			}
			if demo == nil {
				return notHere(cc)
			}
			return demo(cc.Context, demoOptions{JSON: cc.Bool("json"), Colour: term.colour}, term.out)
		},
	}
}

func replayCommand(replay func(context.Context, replayOptions, io.Writer) error, term terminal) *cli.Command {
	return &cli.Command{
		Name: "replay", Usage: "say what would have been detected in a capture, when and why", ArgsUsage: "FILE",
		Description: "FILE is a pcap or pcapng capture; the detector runs at the capture's own clock.\n" +
			"Without --config and thresholds: 20000 pps, 1000 mbps, 3500 flows/s per host in either direction.\n" +
			"With --as flows, FILE holds what routers exported: sFlow, NetFlow, IPFIX. Without networks, it is only decoded.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "networks", Usage: "our networks, `CIDR[,CIDR]`"},
			&cli.Float64Flag{Name: "threshold-pps", Usage: "packets per second, `N`"},
			&cli.Float64Flag{Name: "threshold-mbps", Usage: "megabits (10^6) per second, `N`"},
			&cli.Float64Flag{Name: "threshold-flows", Usage: "flows per second, `N`"},
			&cli.StringFlag{Name: "config", Usage: "networks and thresholds from the configuration `FILE`"},
			&cli.Float64Flag{Name: "pace", Usage: "the capture's own clock times `N`; 0: as fast as it goes"},
			&cli.StringFlag{Name: "as", Usage: "what is in FILE: `KIND` packets or flows", Value: "packets"},
			jsonFlag(),
		},
		Action: func(cc *cli.Context) error {
			args, err := arguments(cc, "FILE")
			if err != nil {
				return err
			}
			if cc.Float64("pace") < 0 {
				return wrong(cc, "--pace %v: expected 0 or more", cc.Float64("pace"))
			}
			kind := cc.String("as")
			if kind != "packets" && kind != "flows" {
				return wrong(cc, "--as %q: expected packets or flows", kind)
			}
			for _, name := range []string{"threshold-pps", "threshold-mbps", "threshold-flows"} {
				if cc.IsSet(name) && !(cc.Float64(name) > 0 && cc.Float64(name) < 1e15) {
					return wrong(cc, "--%s %v: expected a number over 0", name, cc.Float64(name))
				}
			}
			if len(cc.StringSlice("networks")) == 0 && cc.String("config") == "" && kind == "packets" {
				return wrong(cc, "which networks are ours? give --networks CIDR[,CIDR] or --config FILE")
			}
			if replay == nil {
				return notHere(cc)
			}
			o := replayOptions{
				File: args[0], ConfigPath: cc.String("config"), JSON: cc.Bool("json"), AsFlows: kind == "flows", Pace: cc.Float64("pace"),
				PPS: cc.Float64("threshold-pps"), Mbps: cc.Float64("threshold-mbps"), Flows: cc.Float64("threshold-flows"),
			}
			for _, network := range cc.StringSlice("networks") {
				o.Networks = append(o.Networks, strings.TrimSpace(network))
			}
			return replay(cc.Context, o, term.out)
		},
	}
}

func benchCommand(c commands, term terminal) *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "measure costs on this machine",
		Subcommands: []*cli.Command{
			{
				Name: "xdp", Usage: "cost of the data plane per packet, beside parse-and-drop",
				Flags: []cli.Flag{
					&cli.IntFlag{Name: "hosts", Usage: "random hosts, `N` (default: 65536 and 1048576)"},
					&cli.IntFlag{Name: "rules", Usage: "banned hosts beside those measured, `N`"},
					&cli.IntFlag{Name: "filters", Usage: "also rows with 5 and `N` rules, and with lists of sources"},
					jsonFlag(),
				},
				Action: func(cc *cli.Context) error {
					if _, err := arguments(cc); err != nil {
						return err
					}
					o := benchXDPOptions{Hosts: cc.Int("hosts"), Rules: cc.Int("rules"), Filters: cc.Int("filters"), JSON: cc.Bool("json")}
					if cc.IsSet("hosts") && o.Hosts < 1 {
						return wrong(cc, "--hosts %d: expected at least 1", o.Hosts)
					}
					if o.Rules < 0 {
						return wrong(cc, "--rules %d: expected 0 or more", o.Rules)
					}
					if o.Filters < 0 {
						return wrong(cc, "--filters %d: expected 0 or more", o.Filters)
					}
					if c.BenchXDP == nil {
						return notHere(cc)
					}
					return c.BenchXDP(cc.Context, o, term.out)
				},
			},
			{
				Name: "detect", Usage: "time from the first packet of a flood to the drop in force",
				Flags: []cli.Flag{&cli.IntFlag{Name: "runs", Usage: "floods, `N`", Value: 20}, jsonFlag()},
				Action: func(cc *cli.Context) error {
					if _, err := arguments(cc); err != nil {
						return err
					}
					o := benchDetectOptions{Runs: cc.Int("runs"), JSON: cc.Bool("json")}
					if o.Runs < 1 {
						return wrong(cc, "--runs %d: expected at least 1", o.Runs)
					}
					if c.BenchDetect == nil {
						return notHere(cc)
					}
					return c.BenchDetect(cc.Context, o, term.out)
				},
			},
			{
				Name: "bgp", Usage: "time from the detection of an attack to its blackhole in the tables of a router, which is BIRD",
				Flags: []cli.Flag{&cli.IntFlag{Name: "runs", Usage: "floods, `N`", Value: 50}, jsonFlag()},
				Action: func(cc *cli.Context) error {
					if _, err := arguments(cc); err != nil {
						return err
					}
					o := benchBGPOptions{Runs: cc.Int("runs"), JSON: cc.Bool("json")}
					if o.Runs < 1 {
						return wrong(cc, "--runs %d: expected at least 1", o.Runs)
					}
					if c.BenchBGP == nil {
						return notHere(cc)
					}
					return c.BenchBGP(cc.Context, o, term.out)
				},
			},
			{
				Name: "flow", Usage: "cost of a flow record, from the datagram to the host cell, beside counting alone",
				Flags: []cli.Flag{jsonFlag()},
				Action: func(cc *cli.Context) error {
					if _, err := arguments(cc); err != nil {
						return err
					}
					if c.BenchFlow == nil {
						return notHere(cc)
					}
					return c.BenchFlow(cc.Context, benchFlowOptions{JSON: cc.Bool("json")}, term.out)
				},
			},
			{
				Name: "capture", Usage: "cost of a packet by each capture engine that this machine has, beside parsing and counting from memory",
				Flags: []cli.Flag{&cli.Float64Flag{Name: "seconds", Usage: "flood each engine for `N` seconds", Value: 1}, jsonFlag()},
				Action: func(cc *cli.Context) error {
					if _, err := arguments(cc); err != nil {
						return err
					}
					o := benchCaptureOptions{Seconds: cc.Float64("seconds"), JSON: cc.Bool("json")}
					if !(o.Seconds > 0 && o.Seconds <= bench.MaxCaptureSeconds) {
						return wrong(cc, "--seconds %v: expected more than 0 and at most %d", o.Seconds, bench.MaxCaptureSeconds)
					}
					if c.BenchCapture == nil {
						return notHere(cc)
					}
					return c.BenchCapture(cc.Context, o, term.out)
				},
			},
		},
	}
}

func doctorCommand(doctor func(context.Context, doctorOptions, io.Writer) error, term terminal) *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "say what this kernel, interface and user may do, and the remedy for what is missing",
		Flags: []cli.Flag{&cli.StringFlag{Name: "config", Usage: "look at the interfaces of the configuration `FILE` too"}, jsonFlag()},
		Action: func(cc *cli.Context) error {
			if _, err := arguments(cc); err != nil {
				return err
			}
			if doctor == nil {
				return notHere(cc)
			}
			return doctor(cc.Context, doctorOptions{ConfigPath: cc.String("config"), JSON: cc.Bool("json")}, term.out)
		},
	}
}
