package filter

import (
	"net/netip"

	lua "github.com/yuin/gopher-lua"

	"weir/userspace/sandbox"
	"weir/userspace/traffic"
)

// record is the one object that shows a script record after record. The fields that the script's text mentions stand in a table, where
// only those are replaced that differ from the record before; others are made when they are asked for.
type record struct {
	flow   *traffic.Flow // in hand; nil between two calls
	object *lua.LUserData
	table  *lua.LTable
	shown  []shown
	whole  bool // all fields stand in the table
	known  map[string]field
	small  []lua.LValue
}

// shown is a field in the table.
type shown struct {
	named
	number  uint64 // what stands there
	address netip.Addr
	fresh   bool // nothing stands there yet
}

// newRecord makes the object for a script that mentions the names, some of which are fields.
func newRecord(l *lua.LState, names []string, small []lua.LValue) *record {
	r := &record{table: l.NewTable(), known: map[string]field{}, small: small}
	all := fields()
	for _, n := range all {
		r.known[n.name] = n.field
	}
	for _, name := range names {
		if id, ok := r.known[name]; ok {
			r.show(named{name: name, field: id})
		}
	}
	missing := l.NewTable()
	missing.RawSetString("__index", l.NewFunction(r.missing))
	r.table.Metatable = missing
	meta := l.NewTable()
	meta.RawSetString("__index", r.table)
	meta.RawSetString("__newindex", l.NewFunction(readOnly))
	meta.RawSetString("__metatable", lua.LString("flow"))
	r.object = l.NewUserData()
	r.object.Value = r
	r.object.Metatable = meta
	return r
}

func (r *record) show(n named) { r.shown = append(r.shown, shown{named: n, fresh: true}) }

// showAll puts all fields into the table, under their own names, for a script that goes through them.
func (r *record) showAll() *lua.LTable {
	if !r.whole {
		r.whole = true
		there := map[string]bool{}
		for _, s := range r.shown {
			there[s.name] = true
		}
		for _, n := range fields() {
			if !n.alias && !there[n.name] {
				r.show(n)
			}
		}
		r.fill()
	}
	return r.table
}

// set takes a record in hand.
func (r *record) set(f *traffic.Flow) {
	r.flow = f
	r.fill()
}

func (r *record) fill() {
	for i := range r.shown {
		s := &r.shown[i]
		if s.field > fieldNumbers && s.field < fieldAddresses {
			if a := address(r.flow, s.field); s.fresh || a != s.address {
				s.address, s.fresh = a, false
				r.table.RawSetString(s.name, addressValue(a))
			}
			continue
		}
		if n := number(r.flow, s.field); s.fresh || n != s.number {
			s.number, s.fresh = n, false
			r.table.RawSetString(s.name, r.value(s.field, n))
		}
	}
}

func addressValue(a netip.Addr) lua.LValue {
	if !a.IsValid() {
		return lua.LNil
	}
	return lua.LString(a.String())
}

// value is a number of a field as the script sees it.
func (r *record) value(id field, n uint64) lua.LValue {
	switch {
	case id < fieldStart:
		if n < uint64(len(r.small)) {
			return r.small[n]
		}
		return lua.LNumber(n)
	case id < fieldNumbers:
		return lua.LNumber(float64(int64(n)) / 1e9)
	case id < fieldWords:
		return lua.LString(word(id, n))
	}
	return lua.LBool(n != 0)
}

// missing is called for a field that does not stand in the table: nobody has named it, or its value is unknown.
func (r *record) missing(l *lua.LState) int {
	name := l.Get(2)
	id, ok := r.known[lua.LVAsString(name)]
	switch {
	case !ok:
		l.RaiseError("a flow record has no field %q", lua.LVAsString(l.ToStringMeta(name)))
	case r.flow == nil:
		l.RaiseError("a flow record can be read only in the call that it was given to")
	case id > fieldNumbers && id < fieldAddresses:
		l.Push(addressValue(address(r.flow, id)))
	default:
		l.Push(r.value(id, number(r.flow, id)))
	}
	return 1
}

func readOnly(l *lua.LState) int {
	l.RaiseError("a flow record cannot be changed; return false to drop it, or a number to multiply its rate by")
	return 0
}

// recordOf is the record that a value is, nil if it is none.
func recordOf(v lua.LValue) *record {
	if u, ok := v.(*lua.LUserData); ok {
		if r, ok := u.Value.(*record); ok {
			return r
		}
	}
	return nil
}

// hasField is a method of sets of networks: whether one of a record's addresses is in it.
func hasField(l *lua.LState, id field) int {
	set := sandbox.CheckSet(l)
	r := recordOf(l.Get(2))
	if r == nil || r.flow == nil {
		l.ArgError(2, "expected the flow record in hand")
		return 0
	}
	l.Push(lua.LBool(set.Contains(address(r.flow, id))))
	return 1
}
