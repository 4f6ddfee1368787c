package filter

import (
	"strings"
	"testing"
	"time"
)

// printed runs statements in a hook and returns what they have printed, or the error.
func printed(t testing.TB, body string) string {
	t.Helper()
	s, err := LoadWith(write(t, "f.lua", "function netflow(flow) "+body+"\nend"), Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s.New().Keep(flow())
	if got := statsOf(s); got.Errors+got.Runaways > 0 {
		return got.LastError
	}
	return s.Stats().LastPrint
}

// TestLanguage has what is ours of Lua: the operator "..", the string library, pairs, and what is left out.
func TestLanguage(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`print("a" .. 1 .. "b" .. 2.5)`, "a1b2.5"},
		{`print(("a" .. "b") .. ("c" .. "d"))`, "abcd"},
		{`local function two() return "x", "y" end print("a" .. two())`, "ax"},
		{`local function all(...) return "n" .. ... end print(all("x", "y"))`, "nx"},
		{`local function f() return "a" .. "b" end print(f())`, "ab"},
		{`local t = setmetatable({}, {__concat = function(a, b) return "<" .. (type(a) == "table" and "t" or a) .. (type(b) == "table" and "t" or b) .. ">" end}) print("a" .. t .. "b", t .. t)`, "a<tb>\t<tt>"},
		{`print("a" .. nil)`, "f.lua:1: attempt to concatenate a nil value"},
		{"\nlocal x\nreturn 'a' .. x .. 'b'", "f.lua:3: attempt to concatenate a nil value"},
		{`local s = "x" for n = 1, 40 do s = s .. s end`, "f.lua:1: a string of 2097152 bytes is too long; expected at most 1048576"},
		{`print(("x"):rep(1e9))`, "f.lua:1: a string of 1048577 bytes is too long; expected at most 1048576"},
		{`print(("ab"):rep(3), ("ab"):rep(0), ("ab"):rep(-1), #(""):rep(1e15))`, "ababab\t\t\t0"},
		{`print(("%5.2f|%-4d|%s|%q|%%|%x"):format(1 / 3, 7, "x", "a\nb", 255))`, " 0.33|7   |x|\"a\\nb\"|%|ff"},
		{`print(("%100d"):format(1))`, "f.lua:1: invalid format: a width or precision has more than two digits"},
		{`print(("%1.100f"):format(1))`, "f.lua:1: invalid format: a width or precision has more than two digits"},
		{`print(("%*d"):format(99999, 1))`, "f.lua:1: invalid format: a width or precision has more than two digits"},
		{`print(("%%100 %d"):format(1))`, "%100 1"},
		{`print(table.concat({1, "a", 2.5}, "-"), table.concat({}), table.concat({1, 2, 3}, ",", 2), table.concat({1, 2, 3}, ",", 2, 2))`, "1-a-2.5\t\t2,3\t2"},
		{`print(table.concat({{}}))`, "f.lua:1: invalid value (table) at index 1 in table for concat"},
		{`local t = {3, 1, 2} table.sort(t) table.insert(t, 4) table.insert(t, 1, 0) print(table.remove(t), #t, t[1], t[4])`, "4\t4\t0\t3"},
		{`local n = 0 for k, v in pairs{a = 1, b = 2, 3} do n = n + v end local t = {a = 10} for k, v in next, t do n = n + v end print(n)`, "16"},
		{`for k in pairs(nil) do end`, "f.lua:1: bad argument #1 to pairs (table expected, got nil)"},
		{`print(type(flow), getmetatable(flow), tostring(missing))`, "userdata\tflow\tnil"},
		{`print(io, os)`, "f.lua:1: a filter has no library io; read_file(NAME) reads a file beside the script"},
		{`coroutine.wrap(print)()`, "f.lua:1: a filter has no coroutine"},
		{`local f = loadstring("return 1")`, "f.lua:1: a filter has no loadstring"},
		{`print(("").dump, string.gfind, collectgarbage)`, "f.lua:1: a filter has no collectgarbage"},
		{`print(math.floor(2.7), math.max(1, 3), 7 % 4, 2 ^ 10, #"abc", ("AbC"):lower(), ("x"):byte(), ("abc"):sub(-2), ("abc"):reverse())`, "2\t3\t3\t1024\t3\tabc\t120\tbc\tcba"},
		{`print(select("#", unpack({1, 2, 3})), pcall(error, "x", 0))`, "3\tfalse\tx"},
		{`unpack({}, 1, 1e8)`, "registry overflow"},
		{`local function f(n) return 1 + f(n + 1) end f(1)`, "stack overflow"},
	} {
		got := printed(t, tt.body)
		if overflow := strings.HasSuffix(tt.want, "overflow"); got != tt.want && !(overflow && strings.Contains(got, tt.want)) {
			t.Errorf("%s\n got %s\nwant %s", tt.body, got, tt.want)
		}
	}
}

// TestPatterns has the results that Lua's own manual and its test suite show.
func TestPatterns(t *testing.T) {
	for _, tt := range []struct{ call, want string }{
		{`("198.51.100.7"):match("^198%.51%.")`, "198.51."},
		{`("198.51.100.7"):match("(%d+)%.(%d+)%.")`, "198\t51"},
		{`("hello world"):find("wor")`, "7\t9"},
		{`("hello world"):find("o", 6)`, "8\t8"},
		{`("a.b"):find(".", 1, true)`, "2\t2"},
		{`("a.b"):find("%.")`, "2\t2"},
		{`("abc"):find("b", -1)`, "nil"},
		{`("abc"):find("", 10)`, "nil"},
		{`("abc"):find("", 4)`, "4\t3"},
		{`("abc"):find("()b()")`, "2\t2\t2\t3"},
		{`("key = value"):match("^(%w+)%s*=%s*(%w+)$")`, "key\tvalue"},
		{`("THE (quick) fox"):find("%((%a+)%)")`, "5\t11\tquick"},
		{`("f(a(b)c)d"):match("%b()")`, "(a(b)c)"},
		{`("THE (quick) fox"):gsub("%f[%a]%a+", "X")`, "X (X) X\t3"},
		{`("abc=abc"):match("^(%a+)=%1$")`, "abc"},
		{`("abc=abd"):match("^(%a+)=%1$")`, "nil"},
		{`("aaa"):match("a-b")`, "nil"},
		{`("aaab"):match("a-b")`, "aaab"},
		{`("<a><b>"):match("<(.-)>")`, "a"},
		{`("<a><b>"):match("<(.*)>")`, "a><b"},
		{`("x1y22"):gsub("%d+", "<%0>")`, "x<1>y<22>\t2"},
		{`("hello"):gsub("", "-")`, "-h-e-l-l-o-\t6"},
		{`("hello world"):gsub("(%w+) (%w+)", "%2 %1")`, "world hello\t1"},
		{`("abc"):gsub("%w", "%%")`, "%%%\t3"},
		{`("abc"):gsub("%w", {a = "1", b = false})`, "1bc\t3"},
		{`("abc"):gsub("%w", function(c) if c == "b" then return "B" end end)`, "aBc\t3"},
		{`("abc"):gsub("^a", "x")`, "xbc\t1"},
		{`("aaa"):gsub("a", "b", 2)`, "bba\t2"},
		{`("a]b-c"):match("[]%-]+", 4)`, "-"},
		{`("[^x]"):match("[%]x^]+")`, "^x]"},
		{`("abcxyz"):match("[^a-c]+")`, "xyz"},
		{`("a\0b"):match("%z")`, "\x00"},
		{`("colour"):match("colou?r")`, "colour"},
		{`("color"):match("colou?r")`, "color"},
		{`("x"):match("%S%W*")`, "x"},
		{`(function() local t = {} for k, v in ("a=1, b=2"):gmatch("(%w+)=(%w+)") do t[#t + 1] = k .. v end return table.concat(t, " ") end)()`, "a1 b2"},
		{`(function() local n = 0 for w in ("one two"):gmatch("%a*") do n = n + 1 end return n end)()`, "4"},
		{`("a"):match("[a")`, `f.lua:1: malformed pattern "[a": ] is missing`},
		{`("a"):match("%")`, `f.lua:1: malformed pattern "%": it ends with %`},
		{`("a"):match("(a")`, `f.lua:1: malformed pattern "(a": a capture is not closed`},
		{`("a"):match("a)")`, `f.lua:1: malformed pattern "a)": a capture is closed that was not opened`},
		{`("a"):match("%1")`, `f.lua:1: malformed pattern "%1": there is no such capture`},
		{`("a"):match("%b")`, `f.lua:1: malformed pattern "%b": two characters are missing behind %b`},
		{`("a"):match("%f")`, `f.lua:1: malformed pattern "%f": [ is missing behind %f`},
		{`("a"):gsub("a", "%2")`, `f.lua:1: malformed pattern "a": there is no such capture`},
		{`("a"):gsub("a", true)`, `f.lua:1: bad argument #3 to gsub (expected a string, a table or a function)`},
		{`("a"):gsub("a", function() return {} end)`, `f.lua:1: invalid replacement value (a table)`},
		{`("a"):match(("()"):rep(33))`, `f.lua:1: malformed pattern "` + strings.Repeat("()", 33) + `": too many captures`},
		{`("a"):match(("a"):rep(513))`, `f.lua:1: a pattern of 513 bytes is too long; expected at most 512`},
	} {
		if got := printed(t, "print("+tt.call+")"); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.call, got, tt.want)
		}
	}
}
