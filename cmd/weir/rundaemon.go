package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"weir/userspace/config"
	wiring "weir/userspace/daemon"
)

// runDaemon runs the daemon in the foreground until ctx ends; SIGHUP reloads its configuration.
func runDaemon(ctx context.Context, o runOptions) error {
	cfg, err := config.Load(o.ConfigPath)
	if err != nil {
		return err
	}
	log, err := newLog(cfg.Log, o)
	if err != nil {
		return err
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	reload := make(chan struct{})
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
			}
			select {
			case <-ctx.Done():
				return
			case reload <- struct{}{}:
			}
		}
	}()
	return wiring.Run(ctx, wiring.Options{ConfigPath: o.ConfigPath, Version: thisBuild().Version, Log: log, Reload: reload})
}

// newLog writes to standard error, as the configuration says or the command line instead.
func newLog(c config.Log, o runOptions) (*slog.Logger, error) {
	level, format := c.Level, c.Format
	if o.LogLevel != "" {
		if err := level.UnmarshalText([]byte(o.LogLevel)); err != nil {
			return nil, err
		}
	}
	if o.LogFormat != "" {
		format = config.Format(o.LogFormat)
	}
	options := &slog.HandlerOptions{Level: level}
	if format == config.FormatJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, options)), nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options)), nil
}
