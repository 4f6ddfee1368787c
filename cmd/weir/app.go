package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// commands are the parts that live in packages of their own. One that is nil is not available on this system.
type commands struct {
	Run          func(context.Context, runOptions) error
	Demo         func(context.Context, demoOptions, io.Writer) error
	Replay       func(context.Context, replayOptions, io.Writer) error
	BenchXDP     func(context.Context, benchXDPOptions, io.Writer) error
	BenchDetect  func(context.Context, benchDetectOptions, io.Writer) error
	BenchBGP     func(context.Context, benchBGPOptions, io.Writer) error
	BenchFlow    func(context.Context, benchFlowOptions, io.Writer) error
	BenchCapture func(context.Context, benchCaptureOptions, io.Writer) error
	Doctor       func(context.Context, doctorOptions, io.Writer) error
}

type runOptions struct {
	ConfigPath string
	LogLevel   string // debug, info, warn or error; empty: as configured
	LogFormat  string // text or json; empty: as configured
}

type demoOptions struct {
	JSON   bool
	Colour bool
}

type replayOptions struct {
	File       string
	ConfigPath string
	Networks   []string // CIDR
	PPS        float64  // 0: not set
	Mbps       float64
	Flows      float64
	AsFlows    bool // the datagrams of exporters, not the packets themselves
	Pace       float64
	JSON       bool
}

type benchXDPOptions struct {
	Hosts   int // 0: 65,536 and 1,048,576
	Rules   int
	Filters int
	JSON    bool
}

type benchDetectOptions struct {
	Runs int
	JSON bool
}

type benchBGPOptions struct {
	Runs int
	JSON bool
}

type benchFlowOptions struct {
	JSON bool
}

type benchCaptureOptions struct {
	Seconds float64 // of flood for each engine
	JSON    bool
}

type doctorOptions struct {
	ConfigPath string // empty: without looking at a configuration
	JSON       bool
}

// usageError is a command line that is wrong in itself.
type usageError struct {
	command string // " ban": whose help to read; empty: the program's
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// errTold ends a command that has said itself what went wrong.
var errTold = errors.New("told already")

const defaultConfig = "/etc/weir/weir.yaml"

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON for programs"}
}

func newApp(c commands, term terminal) *cli.App {
	app := &cli.App{
		Name: "weir", Usage: "see a flood within milliseconds, and hold it back", HideVersion: true, HideHelpCommand: true,
		Writer: term.out, ErrWriter: term.err, EnableBashCompletion: true, Suggest: false,
		ExitErrHandler: func(*cli.Context, error) {}, // execute decides
		Action:         needsCommand,
	}
	app.Commands = []*cli.Command{
		runCommand(c.Run),
		checkCommand(term),
		demoCommand(c.Demo, term),
		replayCommand(c.Replay, term),
		statusCommand(term),
		hostsCommand(term),
		attacksCommand(term),
		bansCommand(term),
		banCommand(term),
		unbanCommand(term),
		rulesCommand(term),
		bgpCommand(term),
		exportersCommand(term),
		benchCommand(c, term),
		doctorCommand(c.Doctor, term),
		enginesCommand(term),
		versionCommand(term),
		completionCommand(term),
		speakerCommand(),
	}
	app.OnUsageError = usageOf("")
	finish(app.Commands, "")
	return app
}

// finish sets what all commands have in common.
func finish(list []*cli.Command, path string) {
	for _, c := range list {
		name := path + " " + c.Name
		c.HideHelpCommand = true
		c.OnUsageError = usageOf(name)
		if len(c.Subcommands) > 0 {
			if c.Action == nil {
				c.Action = needsCommand
			}
			finish(c.Subcommands, name)
		}
	}
}

func usageOf(name string) cli.OnUsageErrorFunc {
	return func(_ *cli.Context, err error, _ bool) error {
		words := strings.NewReplacer("flag provided but not defined: -", "unknown flag --", "for flag -", "for flag --", "flag needs an argument: -", "missing value of flag --")
		return &usageError{name, errors.New(words.Replace(err.Error()))}
	}
}

// needsCommand is the action of what only has commands below it.
func needsCommand(cc *cli.Context) error {
	path := commandPath(cc)
	if cc.NArg() == 0 {
		return &usageError{path, fmt.Errorf("missing command: expected one of %s", strings.Join(below(cc), ", "))}
	}
	return &usageError{path, fmt.Errorf("unknown command %q: expected one of %s", cc.Args().First(), strings.Join(below(cc), ", "))}
}

func below(cc *cli.Context) []string {
	list := cc.App.Commands
	if cc.Command != nil && len(cc.Command.Subcommands) > 0 {
		list = cc.Command.Subcommands
	}
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.Name
	}
	return names
}

// commandPath returns " bench xdp" for the command that runs, and nothing for the program itself.
func commandPath(cc *cli.Context) string {
	path := ""
	for _, level := range cc.Lineage() {
		if level.Command != nil && level.Command.Name != "" && level.Command.Name != "weir" {
			path = " " + level.Command.Name + path
		}
	}
	return path
}

// arguments returns the positional arguments, which must be as many as are named.
func arguments(cc *cli.Context, names ...string) ([]string, error) {
	given := cc.Args().Slice()
	if len(given) < len(names) {
		return nil, &usageError{commandPath(cc), fmt.Errorf("missing argument %s", names[len(given)])}
	}
	if len(given) > len(names) {
		return nil, &usageError{commandPath(cc), fmt.Errorf("unexpected argument %q", given[len(names)])}
	}
	return given, nil
}

// wrong is a usage error about a flag's value.
func wrong(cc *cli.Context, format string, args ...any) error {
	return &usageError{commandPath(cc), fmt.Errorf(format, args...)}
}

// notHere is the answer of a command that this system has no part for.
func notHere(cc *cli.Context) error {
	return fmt.Errorf("%s: not available on this system; it needs Linux", strings.TrimSpace(commandPath(cc)))
}

// callTimeout bounds a control command.
const callTimeout = 15 * time.Second
