package sandbox

import (
	"sort"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// tables replaces what works on whole tables by what is paid for.
func (s *libraries) tables(l *lua.LState) {
	library, ok := l.GetGlobal("table").(*lua.LTable)
	if !ok {
		return
	}
	for _, name := range []string{"insert", "remove", "maxn", "getn"} {
		s.priced(l, library, name)
	}
	library.RawSetString("concat", l.NewFunction(s.join))
	library.RawSetString("sort", l.NewFunction(s.sort))
}

// priced lets a function of a library pay for the length of its first argument before it runs.
func (s *libraries) priced(l *lua.LState, library *lua.LTable, name string) {
	own, ok := library.RawGetString(name).(*lua.LFunction)
	if !ok {
		return
	}
	library.RawSetString(name, l.NewFunction(func(l *lua.LState) int {
		switch v := l.Get(1).(type) {
		case *lua.LTable:
			s.fuel.charge(v.Len())
		case lua.LString:
			s.fuel.write(l, len(v))
		}
		return own.GFunction(l)
	}))
}

// join is table.concat.
func (s *libraries) join(l *lua.LState) int {
	t, separator := l.CheckTable(1), l.OptString(2, "")
	first, last := l.OptInt(3, 1), l.OptInt(4, t.Len())
	var parts []string
	length := 0
	for n := first; n <= last; n++ {
		v := t.RawGetInt(n)
		if !lua.LVCanConvToString(v) {
			l.RaiseError("invalid value (%s) at index %d in table for concat", v.Type(), n)
		}
		parts = append(parts, lua.LVAsString(v))
		length += len(parts[len(parts)-1]) + len(separator)
		s.fuel.step(l)
		if length > maxText {
			s.bound(l, length)
		}
	}
	s.bound(l, length)
	l.Push(lua.LString(strings.Join(parts, separator)))
	return 1
}

// sort is table.sort. The interpreter's own cannot be stopped.
func (s *libraries) sort(l *lua.LState) int {
	x := &sorter{l: l, fuel: s.fuel, list: l.CheckTable(1), less: l.OptFunction(2, nil)}
	x.length = x.list.Len()
	sort.Sort(x)
	return 0
}

// sorter compares the entries of a list by a function of the script, or as the operator < does.
type sorter struct {
	l      *lua.LState
	fuel   *fuel
	list   *lua.LTable
	length int
	less   *lua.LFunction // nil: <
}

// Len is part of sort.Interface.
func (x *sorter) Len() int { return x.length }

// Swap is part of sort.Interface.
func (x *sorter) Swap(i, j int) {
	a, b := x.list.RawGetInt(i+1), x.list.RawGetInt(j+1)
	x.list.RawSetInt(i+1, b)
	x.list.RawSetInt(j+1, a)
}

// Less is part of sort.Interface.
func (x *sorter) Less(i, j int) bool {
	x.fuel.step(x.l)
	a, b := x.list.RawGetInt(i+1), x.list.RawGetInt(j+1)
	if x.less == nil {
		return x.l.LessThan(a, b)
	}
	x.l.Push(x.less)
	x.l.Push(a)
	x.l.Push(b)
	x.l.Call(2, 1)
	answer := x.l.Get(-1)
	x.l.Pop(1)
	return lua.LVAsBool(answer)
}
