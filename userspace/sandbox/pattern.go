package sandbox

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// Bounds of a pattern.
const (
	maxPattern  = 512 // bytes
	maxCaptures = 32
)

// What stands in a capture's length while it is not closed, and for a capture that is a position.
const (
	captureOpen     = -1
	capturePosition = -2
)

// matcher matches one of Lua's patterns (Lua 5.1 manual, section 5.4.1) against a text. The interpreter's own cannot be stopped, and there
// are patterns that take hours; here each step is paid for.
type matcher struct {
	l             *lua.LState
	fuel          *fuel
	text, pattern string
	captures      []capture
}

type capture struct{ start, length int }

func newMatcher(l *lua.LState, f *fuel, text, pattern string) *matcher {
	if len(pattern) > maxPattern {
		l.RaiseError("a pattern of %d bytes is too long; expected at most %d", len(pattern), maxPattern)
	}
	return &matcher{l: l, fuel: f, text: text, pattern: pattern}
}

func (m *matcher) bad(what string) { m.l.RaiseError("malformed pattern %q: %s", m.pattern, what) }

// at matches the whole pattern from a place of the text on, and returns where the match ends, or -1.
func (m *matcher) at(start int) int {
	m.captures = m.captures[:0]
	return m.match(start, 0)
}

// match matches the pattern from p on against the text from s on.
func (m *matcher) match(s, p int) int {
	for {
		m.fuel.step(m.l)
		if p == len(m.pattern) {
			return s
		}
		switch c := m.pattern[p]; {
		case c == '(' && p+1 < len(m.pattern) && m.pattern[p+1] == ')':
			return m.open(s, p+2, capturePosition)
		case c == '(':
			return m.open(s, p+1, captureOpen)
		case c == ')':
			return m.close(s, p+1)
		case c == '$' && p+1 == len(m.pattern):
			if s == len(m.text) {
				return s
			}
			return -1
		case c == '%' && p+1 < len(m.pattern) && strings.IndexByte("bf0123456789", m.pattern[p+1]) >= 0:
			if s, p = m.special(s, p); s < 0 {
				return -1
			}
			continue
		}
		end := m.itemEnd(p)
		single := s < len(m.text) && m.itemHas(m.text[s], p, end)
		suffix := byte(0)
		if end < len(m.pattern) {
			suffix = m.pattern[end]
		}
		switch suffix {
		case '?':
			if single {
				if r := m.match(s+1, end+1); r >= 0 {
					return r
				}
			}
			p = end + 1
			continue
		case '*', '+':
			return m.longest(s, p, end, suffix == '+')
		case '-':
			return m.shortest(s, p, end)
		}
		if !single {
			return -1
		}
		s, p = s+1, end
	}
}

// special matches %b, %f and %1 to %9, and returns how far text and pattern are used; a negative place in the text means no match.
func (m *matcher) special(s, p int) (int, int) {
	switch kind := m.pattern[p+1]; kind {
	case 'b':
		if p+3 >= len(m.pattern) {
			m.bad("two characters are missing behind %b")
		}
		return m.balanced(s, m.pattern[p+2], m.pattern[p+3]), p + 4
	case 'f':
		if p+2 >= len(m.pattern) || m.pattern[p+2] != '[' {
			m.bad("[ is missing behind %f")
		}
		end := m.itemEnd(p + 2)
		var before, here byte
		if s > 0 {
			before = m.text[s-1]
		}
		if s < len(m.text) {
			here = m.text[s]
		}
		if m.itemHas(before, p+2, end) || !m.itemHas(here, p+2, end) {
			return -1, end
		}
		return s, end
	default:
		n := int(kind - '1')
		if n < 0 || n >= len(m.captures) || m.captures[n].length == captureOpen {
			m.bad("there is no such capture")
		}
		c := m.captures[n]
		if c.length > 0 {
			m.fuel.charge(c.length)
			if !strings.HasPrefix(m.text[s:], m.text[c.start:c.start+c.length]) {
				return -1, p
			}
			s += c.length
		}
		return s, p + 2
	}
}

func (m *matcher) balanced(s int, opening, closing byte) int {
	if s >= len(m.text) || m.text[s] != opening {
		return -1
	}
	m.fuel.charge(len(m.text) - s)
	depth := 1
	for i := s + 1; i < len(m.text); i++ {
		switch c := m.text[i]; {
		case c == closing:
			if depth--; depth == 0 {
				return i + 1
			}
		case c == opening:
			depth++
		}
	}
	return -1
}

func (m *matcher) open(s, p, kind int) int {
	if len(m.captures) == maxCaptures {
		m.bad("too many captures")
	}
	m.captures = append(m.captures, capture{s, kind})
	n := len(m.captures)
	r := m.match(s, p)
	if r < 0 {
		m.captures = m.captures[:n-1]
	}
	return r
}

func (m *matcher) close(s, p int) int {
	for n := len(m.captures) - 1; n >= 0; n-- {
		if m.captures[n].length == captureOpen {
			m.captures[n].length = s - m.captures[n].start
			r := m.match(s, p)
			if r < 0 {
				m.captures[n].length = captureOpen
			}
			return r
		}
	}
	m.bad("a capture is closed that was not opened")
	return -1
}

// longest matches an item as often as it can, and fewer times while the rest does not match.
func (m *matcher) longest(s, p, end int, once bool) int {
	n := 0
	for s+n < len(m.text) && m.itemHas(m.text[s+n], p, end) {
		n++
		m.fuel.step(m.l)
	}
	least := 0
	if once {
		least = 1
	}
	for ; n >= least; n-- {
		if r := m.match(s+n, end+1); r >= 0 {
			return r
		}
	}
	return -1
}

// shortest matches an item as few times as it can.
func (m *matcher) shortest(s, p, end int) int {
	for {
		if r := m.match(s, end+1); r >= 0 {
			return r
		}
		if s >= len(m.text) || !m.itemHas(m.text[s], p, end) {
			return -1
		}
		s++
	}
}

// itemEnd is where a single item of the pattern ends: a character, a class, or a set.
func (m *matcher) itemEnd(p int) int {
	c := m.pattern[p]
	p++
	switch c {
	case '%':
		if p == len(m.pattern) {
			m.bad("it ends with %")
		}
		return p + 1
	case '[':
		if p < len(m.pattern) && m.pattern[p] == '^' {
			p++
		}
		for first := true; ; first = false {
			switch {
			case p >= len(m.pattern):
				m.bad("] is missing")
			case m.pattern[p] == ']' && !first:
				return p + 1
			case m.pattern[p] == '%':
				p++
			}
			p++
		}
	}
	return p
}

// itemHas reports whether a character is of the item that stands at p and ends before end.
func (m *matcher) itemHas(c byte, p, end int) bool {
	switch m.pattern[p] {
	case '.':
		return true
	case '%':
		return classHas(c, m.pattern[p+1])
	case '[':
		return m.setHas(c, p+1, end-1)
	}
	return m.pattern[p] == c
}

// setHas reports whether a character is in the set between p and end.
func (m *matcher) setHas(c byte, p, end int) bool {
	has := true
	if m.pattern[p] == '^' {
		has = false
		p++
	}
	for ; p < end; p++ {
		switch {
		case m.pattern[p] == '%':
			p++
			if classHas(c, m.pattern[p]) {
				return has
			}
		case p+2 < end && m.pattern[p+1] == '-':
			if m.pattern[p] <= c && c <= m.pattern[p+2] {
				return has
			}
			p += 2
		case m.pattern[p] == c:
			return has
		}
	}
	return !has
}

// classHas reports whether a character is of a class such as %d; any other character behind % stands for itself.
func classHas(c, class byte) bool {
	lower, upper, digit := c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9'
	printable := c > ' ' && c <= '~'
	var has bool
	switch class | 0x20 {
	case 'a':
		has = lower || upper
	case 'c':
		has = c < ' ' || c == 0x7f
	case 'd':
		has = digit
	case 'l':
		has = lower
	case 'p':
		has = printable && !lower && !upper && !digit
	case 's':
		has = c == ' ' || c >= '\t' && c <= '\r'
	case 'u':
		has = upper
	case 'w':
		has = lower || upper || digit
	case 'x':
		has = digit || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
	case 'z':
		has = c == 0
	default:
		return c == class
	}
	if class >= 'a' && class <= 'z' || class >= 'A' && class <= 'Z' {
		return has == (class >= 'a')
	}
	return c == class
}

// captured is capture n of a match, counted from 0; a pattern without captures has the whole match.
func (m *matcher) captured(n, start, end int) lua.LValue {
	if n >= len(m.captures) {
		if n > 0 {
			m.bad("there is no such capture")
		}
		return lua.LString(m.text[start:end])
	}
	switch c := m.captures[n]; c.length {
	case captureOpen:
		m.bad("a capture is not closed")
		return lua.LNil
	case capturePosition:
		return lua.LNumber(c.start + 1)
	default:
		return lua.LString(m.text[c.start : c.start+c.length])
	}
}

// push pushes all captures, or with whole also the match of a pattern that has none, and returns how many.
func (m *matcher) push(start, end int, whole bool) int {
	n := len(m.captures)
	if n == 0 && whole {
		n = 1
	}
	for i := range n {
		m.l.Push(m.captured(i, start, end))
	}
	return n
}
