package sandbox

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// maxText is the longest string that a script can make.
const maxText = 1 << 20

// libraries are what a script finds when it starts: Lua without anything that reaches outside or that cannot be stopped.
type libraries struct {
	script  *Script
	fuel    *fuel
	print   func(string)
	loading bool // files are read only by the script's own statements
}

// open fills the global variables.
func (s *libraries) open(l *lua.LState) {
	for _, open := range []lua.LGFunction{lua.OpenBase, lua.OpenTable, lua.OpenString, lua.OpenMath} {
		l.Push(l.NewFunction(open))
		l.Call(0, 0)
	}
	for _, name := range []string{"collectgarbage", "dofile", "getfenv", "load", "loadfile", "loadstring", "module", "newproxy", "setfenv", "_printregs"} {
		l.SetGlobal(name, lua.LNil)
	}
	s.strings(l)
	s.tables(l)
	for name, f := range map[string]lua.LGFunction{
		concatName: s.concat, "print": s.printed, "pairs": s.pairs(l), "require": s.require, "read_file": s.readFile,
	} {
		l.SetGlobal(name, l.NewFunction(f))
	}
	if s.script.o.NewSet != nil {
		l.SetGlobal("networks", l.NewFunction(s.newNetworks(l)))
	}
	// FastNetMon's scripts extend package.path before they require json.
	library := l.NewTable()
	library.RawSetString("path", lua.LString(""))
	l.SetGlobal("package", library)
	missing := l.NewTable()
	missing.RawSetString("__index", l.NewFunction(s.absent))
	l.G.Global.Metatable = missing
}

// absent is called for a global variable that nobody has set.
func (s *libraries) absent(l *lua.LState) int {
	name := lua.LVAsString(l.Get(2))
	switch name {
	case "io":
		l.RaiseError("%s has no library io; read_file(NAME) reads a file beside the script", s.script.o.What)
	case "os", "debug", "coroutine", "channel", "dofile", "loadfile", "load", "loadstring", "module", "collectgarbage":
		l.RaiseError("%s has no %s", s.script.o.What, name)
	}
	return 0
}

// printed is print: whoever runs the script is told the line.
func (s *libraries) printed(l *lua.LState) int {
	var words []string
	length := 0
	for n := 1; n <= l.GetTop() && length < maxMessage; n++ {
		words = append(words, l.ToStringMeta(l.Get(n)).String())
		length += len(words[n-1])
	}
	s.fuel.charge(length)
	if s.print != nil {
		s.print(Shorten(strings.Join(words, "\t")))
	}
	return 0
}

// pairs is Lua's own, and goes through objects that show themselves as a table.
func (s *libraries) pairs(l *lua.LState) lua.LGFunction {
	own, _ := l.GetGlobal("pairs").(*lua.LFunction)
	next := l.GetGlobal("next")
	return func(l *lua.LState) int {
		t, ok := l.Get(1).(*lua.LTable)
		if !ok && s.script.o.Table != nil {
			t = s.script.o.Table(l.Get(1))
			ok = t != nil
		}
		if !ok || own == nil {
			l.CheckTable(1)
		}
		l.Push(next)
		l.Push(t)
		l.Push(lua.LNil)
		return 3
	}
}

// require gives the two modules that FastNetMon's scripts use.
func (s *libraries) require(l *lua.LState) int {
	switch name := l.CheckString(1); name {
	case "json":
		t := l.NewTable()
		t.RawSetString("decode", l.NewFunction(s.decodeJSON))
		l.Push(t)
	case "ffi":
		// Nothing needs a cast: fields have the names that the structures of FastNetMon have.
		t := l.NewTable()
		t.RawSetString("cdef", l.NewFunction(func(*lua.LState) int { return 0 }))
		t.RawSetString("typeof", l.NewFunction(func(l *lua.LState) int { l.Push(lua.LString(l.CheckString(1))); return 1 }))
		t.RawSetString("cast", l.NewFunction(func(l *lua.LState) int { l.Push(l.CheckAny(2)); return 1 }))
		l.Push(t)
	default:
		l.RaiseError("%s has no module %q; expected json or ffi", s.script.o.What, name)
	}
	return 1
}

// readFile returns what a file beside the script holds.
func (s *libraries) readFile(l *lua.LState) int {
	name := l.CheckString(1)
	if !s.loading {
		l.RaiseError("read_file(%q) in a hook; read the file once, outside of functions", name)
	}
	text, err := s.script.file(name)
	if err != nil {
		l.RaiseError("%s", err.Error())
	}
	l.Push(lua.LString(text))
	return 1
}

// concat is the operator "..", from the right to the left.
func (s *libraries) concat(l *lua.LState) int {
	top, length := l.GetTop(), 0
	for n := 1; n <= top; n++ {
		v := l.Get(n)
		if !lua.LVCanConvToString(v) {
			return s.concatObjects(l)
		}
		if text, ok := v.(lua.LString); ok {
			length += len(text)
		}
	}
	s.bound(l, length)
	var b strings.Builder
	b.Grow(length + 16)
	for n := 1; n <= top; n++ {
		b.WriteString(lua.LVAsString(l.Get(n)))
	}
	l.Push(lua.LString(b.String()))
	return 1
}

// concatObjects is concat where something is neither a string nor a number.
func (s *libraries) concatObjects(l *lua.LState) int {
	right := l.Get(l.GetTop())
	for n := l.GetTop() - 1; n >= 1; n-- {
		left := l.Get(n)
		if lua.LVCanConvToString(left) && lua.LVCanConvToString(right) {
			a, b := lua.LVAsString(left), lua.LVAsString(right)
			s.bound(l, len(a)+len(b))
			right = lua.LString(a + b)
			continue
		}
		f := l.GetMetaField(left, "__concat")
		if f == lua.LNil {
			f = l.GetMetaField(right, "__concat")
		}
		if f == lua.LNil {
			bad := right
			if !lua.LVCanConvToString(left) {
				bad = left
			}
			l.RaiseError("attempt to concatenate a %s value", bad.Type())
		}
		l.Push(f)
		l.Push(left)
		l.Push(right)
		l.Call(2, 1)
		right = l.Get(-1)
		l.Pop(1)
	}
	l.Push(right)
	return 1
}

// bound refuses to make a string that is too long, and counts it.
func (s *libraries) bound(l *lua.LState, length int) {
	tooLong(l, length)
	s.fuel.write(l, length)
}

// growing is bound for a string that is not complete yet.
func (s *libraries) growing(l *lua.LState, length int) {
	tooLong(l, length)
	s.fuel.charge(length)
}

func tooLong(l *lua.LState, length int) {
	if length > maxText {
		l.RaiseError("a string of %d bytes is too long; expected at most %d", length, maxText)
	}
}

// strings replaces what can make long strings or takes long by what is bounded.
func (s *libraries) strings(l *lua.LState) {
	library, ok := l.GetGlobal("string").(*lua.LTable)
	if !ok {
		return
	}
	for _, name := range []string{"upper", "lower", "reverse", "sub", "byte"} {
		s.priced(l, library, name)
	}
	library.RawSetString("dump", lua.LNil)
	library.RawSetString("rep", l.NewFunction(s.repeat))
	if format, ok := library.RawGetString("format").(*lua.LFunction); ok {
		library.RawSetString("format", l.NewFunction(s.format(format.GFunction)))
	}
	for name, f := range map[string]lua.LGFunction{"find": s.find, "match": s.match, "gmatch": s.gmatch, "gsub": s.gsub} {
		library.RawSetString(name, l.NewFunction(f))
	}
	library.RawSetString("gfind", lua.LNil)
}

// repeat is string.rep.
func (s *libraries) repeat(l *lua.LState) int {
	text, n := l.CheckString(1), l.CheckInt(2)
	if n <= 0 || text == "" {
		l.Push(lua.LString(""))
		return 1
	}
	s.bound(l, len(text)*min(n, maxText+1))
	l.Push(lua.LString(strings.Repeat(text, n)))
	return 1
}

// format is string.format, with widths and precisions of two digits as in Lua itself.
func (s *libraries) format(own lua.LGFunction) lua.LGFunction {
	return func(l *lua.LState) int {
		layout := l.CheckString(1)
		length := len(layout)
		for n := 2; n <= l.GetTop(); n++ {
			if text, ok := l.Get(n).(lua.LString); ok {
				length += 4 * len(text) // as %q writes it at worst
			}
		}
		s.bound(l, length)
		if tooWide(layout) {
			l.RaiseError("invalid format: a width or precision has more than two digits")
		}
		return own(l)
	}
}

// tooWide reports whether a layout has a directive with a number of three digits, or one that takes its width from an argument.
func tooWide(layout string) bool {
	digits, inside := 0, false
	for _, c := range layout {
		switch {
		case c == '%' && !inside:
			digits, inside = 0, true
		case !inside:
		case c == '*' || c == '[':
			return true
		case c >= '0' && c <= '9':
			if digits++; digits > 2 {
				return true
			}
		case strings.ContainsRune("+- #.", c):
			digits = 0
		default:
			inside = false
		}
	}
	return false
}
