package snabb

import (
	"fmt"
	"regexp"
	"strings"
)

// target is what Snabb is to receive from.
type target struct {
	kind string   // raw, tap, pcap, app, firehose, ring
	args []string // app: module, class, port, configuration; else one
}

// isPCI tells a PCI address with its domain, which no Linux interface can be named like.
func isPCI(text string) bool {
	return regexp.MustCompile(`^[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]$`).MatchString(text)
}

// parseTarget reads KIND:ARGUMENT. A name alone is an interface of Linux, and a PCI address alone is firehose's.
func parseTarget(text string) (target, error) {
	switch {
	case isPCI(text):
		return target{kind: "firehose", args: []string{text}}, nil
	case !strings.Contains(text, ":"):
		text = "raw:" + text
	}
	kind, rest, _ := strings.Cut(text, ":")
	t := target{kind: kind, args: []string{rest}}
	switch kind {
	case "raw", "tap":
		if rest == "" || len(rest) > 15 || strings.ContainsAny(rest, "/: ") {
			return target{}, fmt.Errorf("snabb source %q: %q is no name of an interface", text, rest)
		}
	case "pcap", "ring":
		if rest == "" {
			return target{}, fmt.Errorf("snabb source %q: no file; expected %s:PATH", text, kind)
		}
	case "firehose":
		if !isPCI(rest) {
			return target{}, fmt.Errorf("snabb source %q: expected a PCI address, as in firehose:0000:04:00.0", text)
		}
	case "app":
		t.args = strings.SplitN(rest, ":", 4)
		if len(t.args) == 3 {
			t.args = append(t.args, "nil")
		}
		if len(t.args) != 4 || t.args[0] == "" || t.args[1] == "" || t.args[2] == "" {
			return target{}, fmt.Errorf("snabb source %q: expected app:MODULE:CLASS:PORT:LUA-EXPRESSION, as in app:apps.tap.tap:Tap:output:'weir0'", text)
		}
	default:
		return target{}, fmt.Errorf("snabb source %q: unknown kind %q; expected raw:INTERFACE, tap:NAME, pcap:FILE, app:MODULE:CLASS:PORT:LUA-EXPRESSION, firehose:PCI-ADDRESS or ring:PATH",
			text, kind)
	}
	return t, nil
}
