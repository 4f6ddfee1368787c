package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"weir/userspace/config"
	wiring "weir/userspace/daemon"
)

// finding is one error or warning of a configuration.
type finding struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

// verdict is what `weir check --json` prints.
type verdict struct {
	Config   string    `json:"config"`
	Valid    bool      `json:"valid"`
	Errors   []finding `json:"errors"`
	Warnings []finding `json:"warnings"`
}

func findings(list []config.Error) []finding {
	out := make([]finding, len(list))
	for i, e := range list {
		out[i] = finding{e.File, e.Line, e.Column, e.Message}
	}
	return out
}

func checkCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "validate a configuration, every error with its place",
		Flags: []cli.Flag{&cli.StringFlag{Name: "config", Usage: "configuration `FILE`", Value: defaultConfig}, jsonFlag()},
		Action: func(cc *cli.Context) error {
			if _, err := arguments(cc); err != nil {
				return err
			}
			path := cc.String("config")
			loaded, err := config.Load(path)
			if err == nil {
				if err = errors.Join(wiring.CheckSinks(loaded), wiring.CheckHooks(loaded)); err != nil {
					loaded = nil
				}
			}
			var list config.Errors
			if err != nil && !errors.As(err, &list) {
				return err // the file itself cannot be read
			}
			result := verdict{Config: path, Valid: err == nil, Errors: findings(list), Warnings: []finding{}}
			if loaded != nil {
				result.Warnings = findings(loaded.Warnings)
			}
			if cc.Bool("json") {
				err = printJSON(term, result)
			} else {
				err = printVerdict(term, list, loaded)
			}
			if err == nil && !result.Valid {
				return errTold
			}
			if err == nil && !cc.Bool("json") {
				err = term.print("%s: valid: %d interfaces, %d networks, %d hostgroups\n", path, len(loaded.Interfaces), len(loaded.Networks.Prefixes), len(loaded.Hostgroups))
			}
			return err
		},
	}
}

// printVerdict writes errors and warnings to the error stream, one per line, as compilers do: editors find the place.
func printVerdict(term terminal, list config.Errors, loaded *config.Config) error {
	for _, e := range list {
		if _, err := fmt.Fprintln(term.err, e.Error()); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	if loaded == nil {
		return nil
	}
	for _, w := range loaded.Warnings {
		if _, err := fmt.Fprintf(term.err, "%s:%d:%d: warning: %s\n", w.File, w.Line, w.Column, w.Message); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	return nil
}
