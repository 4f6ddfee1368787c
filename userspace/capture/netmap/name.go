package netmap

import (
	"fmt"
	"strconv"
	"strings"
)

// port is a port as an operator names it.
type port struct {
	name  string // as the kernel knows it: eth1, vale0:1, eth1{3
	rings []int  // only these; empty: all
	host  bool   // host rings too, or instead of the NIC's
	nic   bool   // the NIC's rings
}

// parsePort reads netmap's own syntax: an optional "netmap:", the name of an interface, VALE port (vale0:1) or pipe (eth1{3, eth1}3), and
// one of the suffixes -K (ring K alone), ^ (host rings alone), * (host rings too).
func parsePort(text string) (port, error) {
	p := port{name: strings.TrimPrefix(text, "netmap:"), nic: true}
	if i := strings.IndexByte(p.name, '/'); i >= 0 {
		return port{}, fmt.Errorf("netmap port %q: flags behind a slash are not supported; set options in the configuration", text)
	}
	switch {
	case strings.HasSuffix(p.name, "^"):
		p.name, p.host, p.nic = p.name[:len(p.name)-1], true, false
	case strings.HasSuffix(p.name, "*"):
		p.name, p.host = p.name[:len(p.name)-1], true
	default:
		// An interface's own name may have a dash; a ring's number stands behind the last one.
		if i := strings.LastIndexByte(p.name, '-'); i > 0 {
			if ring, err := strconv.ParseUint(p.name[i+1:], 10, 12); err == nil {
				p.name, p.rings = p.name[:i], []int{int(ring)}
			}
		}
	}
	switch {
	case p.name == "":
		return port{}, fmt.Errorf("netmap port %q: no name; expected an interface, vale0:1, or a pipe such as eth1{3", text)
	case len(p.name) >= nameBytes:
		return port{}, fmt.Errorf("netmap port %q: the name is longer than %d bytes", text, nameBytes-1)
	case strings.ContainsAny(p.name, "^*+ "):
		return port{}, fmt.Errorf("netmap port %q: expected one suffix of -K, ^ and * behind the name", text)
	}
	return p, nil
}

// device is the interface of the host that the port stands on, whose promiscuous mode matters; empty for VALE ports and their pipes.
func (p *port) device() string {
	name, _, _ := strings.Cut(p.name, "{")
	name, _, _ = strings.Cut(name, "}")
	if strings.HasPrefix(name, "vale") {
		return ""
	}
	return name
}
