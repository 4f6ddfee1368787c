package main

import (
	"context"
	"io"
	"log/slog"
	"os"

	"weir/userspace/bench"
	"weir/userspace/demo"
	"weir/userspace/doctor"
	"weir/userspace/replay"
)

// wired is the table of the parts that this binary has.
func wired() commands {
	return commands{
		Run: runDaemon,
		Demo: func(ctx context.Context, o demoOptions, out io.Writer) error {
			summary, err := demo.Run(ctx, demo.Options{
				Out: out, JSON: o.JSON, Terminal: o.Colour, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
			})
			if err == nil && !summary.Passed {
				err = errTold
			}
			return err
		},
		Replay: func(ctx context.Context, o replayOptions, out io.Writer) error {
			return replay.Run(ctx, replay.Options{
				File: o.File, ConfigPath: o.ConfigPath, Networks: o.Networks, PPS: o.PPS, Mbps: o.Mbps, Flows: o.Flows, AsFlows: o.AsFlows, Pace: o.Pace, JSON: o.JSON, Progress: progress(),
			}, out)
		},
		BenchXDP: func(ctx context.Context, o benchXDPOptions, out io.Writer) error {
			x := bench.XDPOptions{Rules: o.Rules, Filters: o.Filters, JSON: o.JSON}
			if o.Hosts > 0 {
				x.Hosts = []int{o.Hosts}
			}
			if o.JSON { // as a table, the rows themselves are the progress
				x.Progress = progress()
			}
			return bench.XDP(ctx, x, out)
		},
		BenchDetect: func(ctx context.Context, o benchDetectOptions, out io.Writer) error {
			d := bench.DetectOptions{Runs: o.Runs, JSON: o.JSON}
			if o.JSON {
				d.Progress = progress()
			}
			return bench.Detect(ctx, d, out)
		},
		BenchBGP: func(ctx context.Context, o benchBGPOptions, out io.Writer) error {
			b := bench.BGPOptions{Runs: o.Runs, JSON: o.JSON}
			if o.JSON {
				b.Progress = progress()
			}
			return bench.BGP(ctx, b, out)
		},
		BenchFlow: func(ctx context.Context, o benchFlowOptions, out io.Writer) error {
			f := bench.FlowOptions{JSON: o.JSON}
			if o.JSON {
				f.Progress = progress()
			}
			return bench.Flow(ctx, f, out)
		},
		BenchCapture: func(ctx context.Context, o benchCaptureOptions, out io.Writer) error {
			c := bench.CaptureOptions{Seconds: o.Seconds, JSON: o.JSON}
			if o.JSON {
				c.Progress = progress()
			}
			return bench.Capture(ctx, c, out)
		},
		Doctor: func(ctx context.Context, o doctorOptions, out io.Writer) error {
			return doctor.Run(ctx, doctor.Options{ConfigPath: o.ConfigPath, JSON: o.JSON}, out)
		},
	}
}

// progress shows how far long work has come, on a terminal only.
func progress() func(done, size int64) {
	if !colourful(os.Stderr) {
		return nil
	}
	shown := int64(-1)
	return func(done, size int64) {
		if size == 0 || done*100/size == shown {
			return
		}
		shown = done * 100 / size
		complain(os.Stderr, "\r%3d %%\r", shown)
	}
}
