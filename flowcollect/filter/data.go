package filter

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"
	lua "github.com/yuin/gopher-lua"
)

// decodeJSON turns a JSON text into Lua's values. null is nil: what has it does not exist.
func (s *sandbox) decodeJSON(l *lua.LState) int {
	text := l.CheckString(1)
	s.fuel.charge(len(text))
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		l.RaiseError("decode JSON: %s", err.Error())
	}
	l.Push(jsonValue(l, v))
	return 1
}

func jsonValue(l *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case string:
		return lua.LString(v)
	case float64:
		return lua.LNumber(v)
	case bool:
		return lua.LBool(v)
	case []any:
		t := l.NewTable()
		for _, one := range v {
			t.Append(jsonValue(l, one))
		}
		return t
	case map[string]any:
		t := l.NewTable()
		for key, one := range v {
			t.RawSetString(key, jsonValue(l, one))
		}
		return t
	}
	return lua.LNil
}

// networks is a set of networks, made by the script's networks{...}.
type networks struct {
	set  bart.Lite
	size int
}

func (n *networks) bytes() int { return 64 * n.size } // by estimate

// newNetworks returns the function that makes sets: a list of prefixes and addresses, or a text with blanks between them and comments behind
// #, becomes an object with the methods has(ADDRESS), has_src(FLOW) and has_dst(FLOW).
func newNetworks(l *lua.LState) lua.LGFunction {
	methods := l.NewTable()
	for name, f := range map[string]lua.LGFunction{
		"has":     func(l *lua.LState) int { return hasAddress(l) },
		"has_src": func(l *lua.LState) int { return hasField(l, fieldSrc) },
		"has_dst": func(l *lua.LState) int { return hasField(l, fieldDst) },
	} {
		methods.RawSetString(name, l.NewFunction(f))
	}
	meta := l.NewTable()
	meta.RawSetString("__index", methods)
	meta.RawSetString("__metatable", lua.LString("networks"))
	return func(l *lua.LState) int {
		set := &networks{}
		switch list := l.Get(1).(type) {
		case lua.LString:
			for n, line := range strings.Split(string(list), "\n") {
				line, _, _ = strings.Cut(line, "#")
				for _, text := range strings.Fields(line) {
					set.add(l, "line", n+1, text)
				}
			}
		case *lua.LTable:
			list.ForEach(func(n, text lua.LValue) {
				set.add(l, "entry", int(lua.LVAsNumber(n)), lua.LVAsString(text))
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
func (n *networks) add(l *lua.LState, what string, place int, text string) {
	p, err := parseNetwork(text)
	if err != nil {
		l.RaiseError("networks: %s %d: %s", what, place, err.Error())
	}
	n.set.Insert(p)
	n.size++
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

func checkNetworks(l *lua.LState) *networks {
	if u, ok := l.Get(1).(*lua.LUserData); ok {
		if set, ok := u.Value.(*networks); ok {
			return set
		}
	}
	l.ArgError(1, "expected what networks{...} has made; write a colon before the method")
	return nil
}

func hasAddress(l *lua.LState) int {
	set := checkNetworks(l)
	if l.Get(2) == lua.LNil { // of a field whose value is unknown
		l.Push(lua.LFalse)
		return 1
	}
	a, err := netip.ParseAddr(l.CheckString(2))
	if err != nil {
		l.ArgError(2, "expected an address")
	}
	l.Push(lua.LBool(set.set.Contains(a.Unmap())))
	return 1
}

func hasField(l *lua.LState, id field) int {
	set := checkNetworks(l)
	r := recordOf(l.Get(2))
	if r == nil || r.flow == nil {
		l.ArgError(2, "expected the flow record in hand")
		return 0
	}
	l.Push(lua.LBool(set.set.Contains(address(r.flow, id))))
	return 1
}
