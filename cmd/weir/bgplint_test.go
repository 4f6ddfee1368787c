package main

import (
	"strings"
	"testing"
)

func TestBGPLint(t *testing.T) {
	ours := []string{"--networks", "203.0.113.0/24"}
	for _, test := range []struct {
		name string
		args []string
		code int
		want string // in the output or the error
	}{
		{"good", append([]string{"destination 203.0.113.7/32 protocol udp source-port 53 then discard"}, ours...), exitDone, "nothing speaks against it"},
		{"no destination of ours", append([]string{"protocol udp then discard"}, ours...), exitFailed, "error: "},
		{"a router's limit", append([]string{"destination 203.0.113.7/32 fragment first-fragment then discard", "--profile", "extreme-slx"}, ours...), exitFailed, "extreme-slx"},
		{"json", append([]string{"protocol udp then discard", "--json"}, ours...), exitFailed, `"severity":"error"`},
		{"json without findings", append([]string{"destination 203.0.113.7/32 protocol udp source-port 53 then discard", "--json"}, ours...), exitDone, `"findings":[]`},
		{"broken rule", append([]string{"destination 203.0.113.7/32 protocol udq then discard"}, ours...), exitFailed, "column"},
		{"unknown profile", append([]string{"then discard", "--profile", "acme"}, ours...), exitUsage, "acme"},
		{"no networks", []string{"then discard"}, exitUsage, "--networks"},
		{"no rule", ours, exitUsage, "RULE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := weir(t, commands{}, append([]string{"bgp", "lint"}, test.args...)...)
			if r.code != test.code || !strings.Contains(r.out+r.err, test.want) {
				t.Errorf("exit %d, %q %q; want exit %d and %q", r.code, r.out, r.err, test.code, test.want)
			}
		})
	}
}
