package sandbox

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestPrompt: whatever a script is busy with, a caller that cannot wait gets it back, and no call makes text without end.
func TestPrompt(t *testing.T) {
	const timeIsOver = "s.lua:1: stopped: it takes too long (more than 1ms)"
	for _, tt := range []struct{ name, before, body, want string }{
		{"a loop", "", "while true do end", timeIsOver},
		{"a sort", "local t = {} for n = 1, 60000 do t[n] = n * 7919 % 60013 end", "while true do table.sort(t) table.sort(t, function(a, b) return a > b end) end", timeIsOver},
		{"sets", "local t = {} for n = 1, 60000 do t[n] = '192.0.2.1' end", "while true do networks(t) end", timeIsOver},
		{"text", "", "local t = {} for n = 1, 60000 do t[n] = ('x'):rep(100000) .. n end", "s.lua:1: stopped: it makes too much text (more than 2097152 bytes)"},
		{"caught text", "", "while true do pcall(function() while true do local s = ('x'):rep(100000):upper() end end) end",
			"s.lua:1: stopped: it makes too much text (more than 2097152 bytes)"},
		{"JSON", "local s = '[' .. ('1,'):rep(20000) .. '1]' local n = #require('json').decode(s) assert(n == 20001)", "require('json').decode(s)",
			"s.lua:1: decode JSON: 40003 bytes are too long in a function that is called; expected at most 32768"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := stateOf(t, tt.before+" function f() "+tt.body+" end", Options{Prompt: true, Text: 2 << 20})
			limit := time.Millisecond
			if tt.want != timeIsOver {
				limit = time.Minute
			}
			for range 2 {
				if err := call(x, limit); err == nil || err.Error() != tt.want {
					t.Fatalf("got %v, want %s", err, tt.want)
				}
				if stopped := tt.name != "JSON"; x.RanAway() != stopped {
					t.Errorf("ran away: %v", x.RanAway())
				}
			}
		})
	}
}

// TestHeavy: lists whose entries are gone still take memory, in which the interpreter holds them.
func TestHeavy(t *testing.T) {
	x := stateOf(t, `local t, filled = {}, false
		function f()
			if not filled then
				for n = 1, 60000 do table.insert(t, n) end
				for n = 1, #t do t[n] = nil end
				filled = true
				return
			end
			while true do end
		end`, Options{Memory: 1 << 18})
	if err := call(x, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := call(x, time.Millisecond); err == nil { // after which it is looked at
		t.Fatal("it was not stopped")
	}
	if !x.Heavy() {
		t.Error("60,000 entries in 256 KiB")
	}
}

// TestSort agrees with what Lua does.
func TestSort(t *testing.T) {
	var lines []string
	_, err := load(t, `
		local function show(t) print(table.concat(t, " ")) end
		local t = {3, 1, 2} table.sort(t) show(t)
		table.sort(t, function(a, b) return a > b end) show(t)
		t = {"b", "a", "c"} table.sort(t) show(t)
		local one, two = setmetatable({n = 1}, {__lt = function(a, b) return a.n < b.n end}), nil
		two = setmetatable({n = 2}, getmetatable(one))
		t = {two, one} table.sort(t) print(t[1].n, t[2].n)
		local ok, why = pcall(table.sort, {1, "x"}) print(ok, why:match("[^:]*$"))
		print((pcall(table.sort, 1)), (pcall(table.sort, {}, 1)))
		table.sort{} table.sort{1}`, Options{}, func(text string) { lines = append(lines, text) })
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(lines, "\n")
	want := "1 2 3\n3 2 1\na b c\n1\t2\nfalse\t attempt to compare string with number\nfalse\tfalse"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestStart: what a script may do while it is loaded, and what it finds.
func TestStart(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"much text", "for n = 1, 100 do local s = ('x'):rep(100000) end", ""},
		{"a set", "assert(networks{'192.0.2.0/24'}:has('192.0.2.9'))", ""},
		{"no io", "\nio.open('x')", "s.lua:2: a test has no library io; read_file(NAME) reads a file beside the script"},
		{"a file elsewhere", "read_file('/etc/passwd')", `s.lua:1: read "/etc/passwd": a test reads files of its own folder only; put the file beside the script`},
		{"itself", "assert(#read_file('s.lua') == 33)", ""},
		{"too heavy", "t = {} for n = 1, 10 do t[n] = ('x'):rep(1000000) .. n end", "s.lua: its values take more than 4194304 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.script, Options{Prompt: true, Text: 2 << 20, Memory: 4 << 20}, nil)
			got := ""
			if err != nil {
				got = err.Error()
				got = got[strings.LastIndex(got, "/s.lua")+1:]
			}
			if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
