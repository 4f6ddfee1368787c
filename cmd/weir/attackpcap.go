package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"weir/userspace/config"
	"weir/userspace/recorder"
)

func attackCaptureCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "pcap", Usage: "write the packets of one attack to standard output, as pcapng", ArgsUsage: "ID",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "the daemon's configuration `FILE`, which says where captures are", Value: defaultConfig},
			&cli.StringFlag{Name: "folder", Usage: "the `FOLDER` of captures, instead of --config"},
		},
		Action: func(cc *cli.Context) (err error) {
			args, err := arguments(cc, "ID")
			if err != nil {
				return err
			}
			folder := cc.String("folder")
			if folder == "" {
				c, err := config.Load(cc.String("config"))
				if err != nil {
					return err
				}
				if folder = c.Recorder.Path; folder == "" {
					return fmt.Errorf("%s keeps no captures: give recorder.path a folder", cc.String("config"))
				}
			}
			capture, err := recorder.Open(folder, args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, capture.Close()) }()
			if _, err := io.Copy(term.out, capture); err != nil {
				return fmt.Errorf("write capture: %w", err)
			}
			return nil
		},
	}
}
