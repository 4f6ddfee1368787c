package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// Plugin is an external program that brings traffic, is told, detects or mitigates.
type Plugin struct {
	Limits   SinkLimits
	Name     string
	Command  []string // a path from the root, and its arguments
	Kinds    []string // source, sink, detector, mitigator
	Settings string   // told to the program as they are
	User     string   // that it runs as; empty: as the daemon does
}

func (d *decoder) plugin(p *Plugin) decodeFunc {
	kinds := []string{"source", "sink", "detector", "mitigator"}
	return func(at string, n *yaml.Node) {
		d.sink(&p.Limits,
			field{"name", d.words(&p.Name)},
			field{"command", d.list(&p.Command, "a program and its arguments")},
			field{"kinds", func(at string, n *yaml.Node) {
				p.Kinds = nil
				for _, item := range d.items(at, n, "a list of "+alternatives(kinds)) {
					kind := ""
					d.oneOf(&kind, kinds...)(at, item)
					p.Kinds = append(p.Kinds, kind)
				}
			}},
			field{"settings", d.words(&p.Settings)},
			field{"user", d.words(&p.User)},
		)(at, n)
		d.needed(at, n, "name", "command", "kinds")
		if len(p.Command) > 0 && !strings.HasPrefix(p.Command[0], "/") {
			d.errorf(valueOf(n, "command"), "%q: %s is no path from the root", at+".command", p.Command[0])
		}
	}
}
