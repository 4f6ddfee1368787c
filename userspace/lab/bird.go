package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
)

// ErrNoBird is wrapped by StartBird's error when BIRD is not installed.
var ErrNoBird = errors.New("BIRD is not installed; on Debian: apt-get install --no-install-recommends bird2")

// RouteChange is a change of a host's kernel routing tables.
type RouteChange struct {
	Prefix  netip.Prefix
	Removed bool
	At      time.Time // when the kernel's message was read
}

// BirdPeer describes a router with one session, to a neighbour on a link of its own that opens it.
type BirdPeer struct {
	Address, Neighbour     netip.Addr // of the router, which is its router ID too, and of who announces; IPv4
	AS, NeighbourAS        uint32
	Blackhole              uint32 // standard community of the routes that are taken, and become the kernel's blackhole routes
	Password               string // TCP-MD5; empty: none
	GracefulRestartSeconds int    // how long the router keeps the routes of a lost session when the neighbour does not say; 0: BIRD's own
}

// Config is the router's configuration. The session's name is "weir".
func (p BirdPeer) Config() string {
	password, restart := "", ""
	if p.Password != "" {
		password = fmt.Sprintf("password %q; ", p.Password)
	}
	if p.GracefulRestartSeconds > 0 {
		restart = fmt.Sprintf("graceful restart time %d; ", p.GracefulRestartSeconds)
	}
	return fmt.Sprintf(`router id %s;
debug protocols { states };
protocol device {}
protocol kernel { ipv4 { import none; export all; }; }
protocol bgp weir {
  local %s as %d;
  neighbor %s as %d;
  multihop; passive on; graceful restart on; %s%s
  ipv4 {
    import filter {
      if (%d, %d) ~ bgp_community then { dest = RTD_BLACKHOLE; accept; }
      reject;
    };
    export none;
  };
}
`, p.Address, p.Address, p.AS, p.Neighbour, p.NeighbourAS, password, restart, p.Blackhole>>16, p.Blackhole&0xffff)
}

// readReply reads one reply of BIRD's control protocol: lines that begin with a code of four digits and a hyphen, or with a space
// to go on, and at the end one with a code and a space. The lines come without codes. Codes from 8000 are errors
// (BIRD Programmer's Documentation, "Command line interface").
func readReply(in *bufio.Reader) (string, error) {
	var text strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return text.String(), fmt.Errorf("read BIRD's reply: %w", err)
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, " "):
			text.WriteString(line[1:] + "\n")
		case strings.HasPrefix(line, "+"): // a message of the log, which was not asked for
		case len(line) < 5 || strings.Trim(line[:4], "0123456789") != "" || line[4] != ' ' && line[4] != '-':
			return text.String(), fmt.Errorf("read BIRD's reply: %q is no line of its protocol", line)
		case line[0] >= '8' && line[4] == ' ':
			return text.String(), fmt.Errorf("BIRD says: %s", line[5:])
		default:
			text.WriteString(line[5:] + "\n")
			if line[4] == ' ' {
				return text.String(), nil
			}
		}
	}
}
