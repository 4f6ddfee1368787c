package sandbox

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// from reads the optional argument that says where to begin, as an offset from 0.
func from(l *lua.LState, argument int, text string) int {
	n := l.OptInt(argument, 1)
	if n < 0 {
		n += len(text) + 1
	}
	return min(max(n, 1)-1, len(text)+1)
}

// first finds the first match at or behind a place.
func (m *matcher) first(start int) (int, int, bool) {
	anchored := strings.HasPrefix(m.pattern, "^")
	if anchored {
		m.pattern = m.pattern[1:]
	}
	for ; start <= len(m.text); start++ {
		if end := m.at(start); end >= 0 {
			return start, end, true
		}
		if anchored {
			break
		}
	}
	return 0, 0, false
}

// find is string.find.
func (s *libraries) find(l *lua.LState) int {
	text, pattern := l.CheckString(1), l.CheckString(2)
	start := from(l, 3, text)
	if start > len(text) {
		l.Push(lua.LNil)
		return 1
	}
	if l.ToBool(4) || !strings.ContainsAny(pattern, "^$*+?.([%-") {
		s.fuel.charge(len(text))
		at := strings.Index(text[start:], pattern)
		if at < 0 {
			l.Push(lua.LNil)
			return 1
		}
		l.Push(lua.LNumber(start + at + 1))
		l.Push(lua.LNumber(start + at + len(pattern)))
		return 2
	}
	m := newMatcher(l, s.fuel, text, pattern)
	begin, end, ok := m.first(start)
	if !ok {
		l.Push(lua.LNil)
		return 1
	}
	l.Push(lua.LNumber(begin + 1))
	l.Push(lua.LNumber(end))
	return 2 + m.push(begin, end, false)
}

// match is string.match.
func (s *libraries) match(l *lua.LState) int {
	text, pattern := l.CheckString(1), l.CheckString(2)
	m := newMatcher(l, s.fuel, text, pattern)
	begin, end, ok := m.first(from(l, 3, text))
	if !ok {
		l.Push(lua.LNil)
		return 1
	}
	return m.push(begin, end, true)
}

// gmatch is string.gmatch: in it, ^ means nothing special.
func (s *libraries) gmatch(l *lua.LState) int {
	text, pattern := l.CheckString(1), l.CheckString(2)
	next := 0
	l.Push(l.NewFunction(func(l *lua.LState) int {
		m := newMatcher(l, s.fuel, text, pattern)
		for ; next <= len(text); next++ {
			end := m.at(next)
			if end < 0 {
				continue
			}
			begin := next
			if next = end; end == begin {
				next++
			}
			return m.push(begin, end, true)
		}
		l.Push(lua.LNil)
		return 1
	}))
	return 1
}

// gsub is string.gsub.
func (s *libraries) gsub(l *lua.LState) int {
	text, pattern, by := l.CheckString(1), l.CheckString(2), l.CheckAny(3)
	limit := l.OptInt(4, len(text)+1)
	switch by.Type() {
	case lua.LTString, lua.LTNumber, lua.LTTable, lua.LTFunction:
	default:
		l.ArgError(3, "expected a string, a table or a function")
	}
	m := newMatcher(l, s.fuel, text, pattern)
	anchored := strings.HasPrefix(pattern, "^")
	if anchored {
		m.pattern = pattern[1:]
	}
	var out strings.Builder
	done, at := 0, 0
	for done < limit && at <= len(text) {
		end := m.at(at)
		if end >= 0 {
			done++
			out.WriteString(s.replacement(m, by, at, end))
			s.growing(l, out.Len())
		}
		switch {
		case end > at:
			at = end
		case at < len(text):
			out.WriteByte(text[at])
			at++
		default:
			at++
		}
		if anchored {
			break
		}
	}
	if at < len(text) {
		out.WriteString(text[at:])
	}
	s.bound(l, out.Len())
	l.Push(lua.LString(out.String()))
	l.Push(lua.LNumber(done))
	return 2
}

// replacement is what stands for a match from then on.
func (s *libraries) replacement(m *matcher, by lua.LValue, start, end int) string {
	l := m.l
	var v lua.LValue
	switch by := by.(type) {
	case *lua.LTable:
		v = l.GetTable(by, m.captured(0, start, end))
	case *lua.LFunction:
		l.Push(by)
		l.Call(m.push(start, end, true), 1)
		v = l.Get(-1)
		l.Pop(1)
	default:
		return s.template(m, lua.LVAsString(by), start, end)
	}
	switch {
	case lua.LVIsFalse(v):
		return m.text[start:end]
	case !lua.LVCanConvToString(v):
		l.RaiseError("invalid replacement value (a %s)", v.Type())
	}
	return lua.LVAsString(v)
}

// template fills captures into a replacement: %0 is the whole match, %1 to %9 are captures, %% is a percent sign.
func (s *libraries) template(m *matcher, by string, start, end int) string {
	if strings.IndexByte(by, '%') < 0 {
		return by
	}
	var b strings.Builder
	for i := 0; i < len(by); i++ {
		if by[i] != '%' || i+1 == len(by) {
			b.WriteByte(by[i])
			continue
		}
		i++
		switch c := by[i]; {
		case c == '0':
			b.WriteString(m.text[start:end])
		case c >= '1' && c <= '9':
			b.WriteString(lua.LVAsString(m.captured(int(c-'1'), start, end)))
		default:
			b.WriteByte(c)
		}
		s.growing(m.l, b.Len())
	}
	return b.String()
}
