package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// completionFlag ends a command line that asks what may come next.
const completionFlag = "--generate-bash-completion"

// arrange moves flags before positional arguments, so that both may stand in any order after the command's name: the flag parser
// underneath stops at the first positional argument. What follows "--" is positional.
func arrange(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	if args[len(args)-1] == completionFlag {
		// The library takes a "--" in front of it, which is what "--<TAB>" gives, for the end of all flags and would run the command.
		return slices.DeleteFunc(slices.Clone(args), func(word string) bool { return word == "--" })
	}
	out, rest := []string{args[0]}, args[1:]
	level, flags := app.Commands, app.Flags
	var positional []string
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		switch {
		case word == "--":
			positional = append(positional, rest...)
			rest = nil
		case len(word) > 1 && word[0] == '-':
			out = append(out, word)
			if !takesValue(flags, word) {
				break
			}
			if len(rest) == 0 {
				return out // without the value, which is an error that the parser words
			}
			out, rest = append(out, rest[0]), rest[1:]
		case len(level) > 0: // a command is expected
			command := find(level, word)
			out = append(out, word)
			if command == nil {
				return append(out, rest...) // which is an error that the parser words
			}
			level, flags = command.Subcommands, command.Flags
		default:
			positional = append(positional, word)
		}
	}
	if len(positional) == 0 {
		return out
	}
	return append(append(out, "--"), positional...)
}

func find(list []*cli.Command, name string) *cli.Command {
	i := slices.IndexFunc(list, func(c *cli.Command) bool { return c.HasName(name) })
	if i < 0 {
		return nil
	}
	return list[i]
}

// takesValue reports whether the next word belongs to the flag: it is known, not boolean, and without "=".
func takesValue(flags []cli.Flag, word string) bool {
	if strings.Contains(word, "=") {
		return false
	}
	name := strings.TrimLeft(word, "-")
	for _, f := range flags {
		if _, boolean := f.(*cli.BoolFlag); !boolean && slices.Contains(f.Names(), name) {
			return true
		}
	}
	return false
}
