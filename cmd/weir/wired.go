package main

import (
	"context"
	"io"
	"log/slog"
	"os"

	"weir/userspace/demo"
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
				File: o.File, ConfigPath: o.ConfigPath, Networks: o.Networks, PPS: o.PPS, Mbps: o.Mbps, Flows: o.Flows, JSON: o.JSON, Progress: progress(),
			}, out)
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
