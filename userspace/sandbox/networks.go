package sandbox

import (
	"fmt"
	"net/netip"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// Set holds networks; *bart.Lite is one. LookupPrefix reports whether one of them covers all of a prefix.
type Set interface {
	Insert(netip.Prefix)
	Contains(netip.Addr) bool
	LookupPrefix(netip.Prefix) bool
}

// networks is a set of networks, made by the script's networks{...}.
type networks struct {
	set  Set
	size int
}

func (n *networks) bytes() int { return 64 * n.size } // by estimate

// newNetworks returns the function that makes sets: a list of prefixes and addresses, or a text with blanks between them and comments behind
// #, becomes an object with the method has(ADDRESS) and those of the options.
func (s *libraries) newNetworks(l *lua.LState) lua.LGFunction {
	methods := l.NewTable()
	methods.RawSetString("has", l.NewFunction(hasAddress))
	for name, f := range s.script.o.SetMethods {
		methods.RawSetString(name, l.NewFunction(f))
	}
	meta := l.NewTable()
	meta.RawSetString("__index", methods)
	meta.RawSetString("__metatable", lua.LString("networks"))
	return func(l *lua.LState) int {
		set := &networks{set: s.script.o.NewSet()}
		switch list := l.Get(1).(type) {
		case lua.LString:
			s.fuel.charge(len(list))
			for n, line := range strings.Split(string(list), "\n") {
				line, _, _ = strings.Cut(line, "#")
				for _, text := range strings.Fields(line) {
					s.add(l, set, "line", n+1, text)
				}
			}
		case *lua.LTable:
			list.ForEach(func(n, text lua.LValue) {
				s.add(l, set, "entry", int(lua.LVAsNumber(n)), lua.LVAsString(text))
			})
		default:
			l.ArgError(1, "expected a list of networks, or a text of them")
		}
		object := l.NewUserData()
		object.Value = set
		object.Metatable = meta
		l.Push(object)
		return 1
	}
}

// add adds a network, which stands at a place of the list.
func (s *libraries) add(l *lua.LState, to *networks, what string, place int, text string) {
	s.fuel.step(l)
	p, err := parseNetwork(text)
	if err != nil {
		l.RaiseError("networks: %s %d: %s", what, place, err.Error())
	}
	to.set.Insert(p)
	to.size++
}

// parseNetwork reads a prefix without host bits, or an address as the prefix of just that address.
func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		return p, fmt.Errorf("%q is no network; expected one such as 192.0.2.0/24 or 2001:db8::/32, or an address", text)
	case p != p.Masked():
		return p, fmt.Errorf("%s has host bits set; expected %s", p, p.Masked())
	}
	return p, nil
}

// CheckSet is the set that a method was called on; anything else is the script's error.
func CheckSet(l *lua.LState) Set {
	if u, ok := l.Get(1).(*lua.LUserData); ok {
		if n, ok := u.Value.(*networks); ok {
			return n.set
		}
	}
	l.ArgError(1, "expected what networks{...} has made; write a colon before the method")
	return nil
}

func hasAddress(l *lua.LState) int {
	set := CheckSet(l)
	if l.Get(2) == lua.LNil { // of a field whose value is unknown
		l.Push(lua.LFalse)
		return 1
	}
	a, err := netip.ParseAddr(l.CheckString(2))
	if err != nil {
		l.ArgError(2, "expected an address")
	}
	l.Push(lua.LBool(set.Contains(a.Unmap())))
	return 1
}
