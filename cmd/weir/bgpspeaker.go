package main

import (
	"log/slog"
	"os"

	"github.com/urfave/cli/v2"

	"weir/bgp"
)

// speakerSocket is the descriptor that the daemon hands its BGP speaker.
const speakerSocket = 3

// speakerCommand is what the daemon runs as a child of its own to speak BGP; nobody else has any use for it.
func speakerCommand() *cli.Command {
	return &cli.Command{
		Name: "bgp-speaker", Hidden: true, Usage: "speak BGP for a daemon, which alone starts this",
		Action: func(cc *cli.Context) error {
			if _, err := arguments(cc); err != nil {
				return err
			}
			log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
			return bgp.Child(cc.Context, os.NewFile(speakerSocket, "daemon"), log)
		},
	}
}
