package loader

import (
	"errors"
	"fmt"
	"strings"
)

// Mode says where in the kernel's receive path an interface's XDP program runs.
type Mode uint8

// Auto is what configuration asks for; what an interface ends up with is Native or Generic.
const (
	Auto    Mode = iota // native where the driver has it, else generic
	Native              // in the driver, before a socket buffer exists
	Generic             // in the network core, on every driver, at several times the cost
	modeCount
)

var modeNames = [modeCount]string{"auto", "native", "generic"}

// String returns the mode's name as it stands in configuration, JSON and metrics.
func (m Mode) String() string {
	if m < modeCount {
		return modeNames[m]
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// ParseMode is the inverse of String.
func ParseMode(name string) (Mode, error) {
	for m, n := range modeNames {
		if n == name {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("unknown mode %q; expected auto, native or generic", name)
}

// Role says what becomes of the packets that an interface receives and that are not dropped by a ban.
type Role uint8

// The order is the kernel's: enum role in bpf/abi.h.
const (
	Host   Role = iota // the rest goes to this machine's own stack
	Wire               // the rest leaves by the paired interface
	Mirror             // the rest are copies: counted, then dropped
	roleCount
)

var roleNames = [roleCount]string{"host", "wire", "mirror"}

// String returns the role's name as it stands in configuration, JSON and metrics.
func (r Role) String() string {
	if r < roleCount {
		return roleNames[r]
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// ParseRole is the inverse of String.
func ParseRole(name string) (Role, error) {
	for r, n := range roleNames {
		if n == name {
			return Role(r), nil
		}
	}
	return 0, fmt.Errorf("unknown role %q; expected host, wire or mirror", name)
}

// Interface is a network interface that Weir is to measure.
type Interface struct {
	Name   string // as the kernel names it, at most 15 bytes
	Mode   Mode
	Role   Role
	Pair   string // role wire: the interface by which the packets leave
	Egress bool   // role host: count what this machine sends, at tc
}

// nameLimit is IFNAMSIZ less the terminating zero (linux/if.h).
const nameLimit = 15

func (i Interface) check() error {
	switch {
	case i.Name == "":
		return errors.New("check interface: it has no name")
	case len(i.Name) > nameLimit:
		return fmt.Errorf("check interface %q: its name has %d bytes; the kernel's limit is %d", i.Name, len(i.Name), nameLimit)
	case i.Name == "." || i.Name == ".." || strings.ContainsAny(i.Name, "/: \t\n\v\f\r"):
		return fmt.Errorf("check interface %q: not a name that an interface can have", i.Name)
	case i.Mode >= modeCount:
		return fmt.Errorf("check interface %q: unknown %v; expected auto, native or generic", i.Name, i.Mode)
	case i.Role >= roleCount:
		return fmt.Errorf("check interface %q: unknown %v; expected host, wire or mirror", i.Name, i.Role)
	case i.Role == Wire && i.Pair == "":
		return fmt.Errorf("check interface %q: role wire needs the interface by which packets leave; set pair", i.Name)
	case i.Role == Wire && i.Pair == i.Name:
		return fmt.Errorf("check interface %q: it cannot be its own pair", i.Name)
	case i.Role != Wire && i.Pair != "":
		return fmt.Errorf("check interface %q: role %v has no pair; set role wire or remove pair %q", i.Name, i.Role, i.Pair)
	case i.Role != Host && i.Egress:
		return fmt.Errorf("check interface %q: egress counts what this machine itself sends; it goes with role host, not %v", i.Name, i.Role)
	}
	return nil
}

// checkInterfaces returns every error of the list at once, those of single interfaces first.
func checkInterfaces(list []Interface) error {
	var all []error
	byName := make(map[string]Interface, len(list))
	for _, i := range list {
		if err := i.check(); err != nil {
			all = append(all, err)
			continue
		}
		if _, twice := byName[i.Name]; twice {
			all = append(all, fmt.Errorf("check interface %q: it is listed twice", i.Name))
		}
		byName[i.Name] = i
	}
	if len(all) > 0 {
		return errors.Join(all...)
	}
	for _, i := range list {
		if i.Role != Wire {
			continue
		}
		pair, listed := byName[i.Pair]
		switch {
		case !listed:
			all = append(all, fmt.Errorf("check interface %q: its pair %q is not listed; both sides of a wire are needed", i.Name, i.Pair))
		case pair.Role != Wire || pair.Pair != i.Name:
			all = append(all, fmt.Errorf("check interface %q: its pair %q must have role wire and pair %q", i.Name, i.Pair, i.Name))
		case i.Mode != pair.Mode && i.Mode != Auto && pair.Mode != Auto:
			all = append(all, fmt.Errorf("check interface %q: mode %v, but its pair %q has %v; a native side cannot transmit by a generic one",
				i.Name, i.Mode, i.Pair, pair.Mode))
		}
	}
	return errors.Join(all...)
}
