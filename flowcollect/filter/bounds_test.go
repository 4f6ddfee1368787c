package filter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/sandbox"
)

func TestLoadErrors(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "f.lua")
	for _, tt := range []struct{ name, script, want string }{
		{"nothing", "", "f.lua: it defines neither netflow(flow) nor sflow(flow), nor FastNetMon's process_netflow and process_sflow"},
		{"another name", "function flow() end", "f.lua: it defines neither netflow(flow) nor sflow(flow), nor FastNetMon's process_netflow and process_sflow"},
		{"two for one", "function netflow() end function process_netflow() end", "f.lua: both netflow and process_netflow are defined; leave one"},
		{"no function", "sflow = 1", "f.lua: sflow is a number; expected a function"},
		{"syntax", "\nfunction netflow(flow) retrun end", `f.lua:2: parse error near "end"`},
		{"unfinished", "function netflow(flow)\n\n", "f.lua:3: syntax error: the script ends too early"},
		{"unfinished string", "\n\nx = 'a\n", `f.lua:4: unterminated string near "a"`},
		{"goto", "\ngoto nowhere", "f.lua:3: no visible label 'nowhere' for <goto> at line 2"},
		{"fails", "local x\nx.y = 1", "f.lua:2: attempt to index a non-table object(nil) with key 'y'"},
		{"runs away", "function netflow() end\nwhile true do end", "f.lua:2: stopped: it takes too long (more than 1s)"},
		{"io", "\nio.open('/etc/passwd')", "f.lua:2: a filter has no library io; read_file(NAME) reads a file beside the script"},
		{"os", "os.execute('true')", "f.lua:1: a filter has no os"},
		{"module", "require 'socket'", `f.lua:1: a filter has no module "socket"; expected json or ffi`},
		{"file of others", "read_file('../x')", `f.lua:1: read "../x": a filter reads files of its own folder only; put the file beside the script`},
		{"absolute file", "read_file('/etc/passwd')", `f.lua:1: read "/etc/passwd": a filter reads files of its own folder only; put the file beside the script`},
		{"no JSON", "require('json').decode('{')", "f.lua:1: decode JSON: unexpected end of JSON input"},
		{"memory", "function netflow() end t = {} for n = 1, 40 do t[n] = ('x'):rep(1000000) .. n end", "f.lua: its values take more than 33554432 bytes"},
		{"nested", "function netflow() end x = " + strings.Repeat("not ", 20000) + "1", "f.lua:1: expressions or blocks are nested more than 10000 deep"},
		{"large", strings.Repeat("-- a comment\n", 100000), "read f.lua: it has 1300000 bytes; expected at most 1048576"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tt.script), 0o600); err != nil {
				t.Fatal(err)
			}
			got := "no error"
			if _, err := LoadWith(path, Options{LoadTimeout: time.Second}); err != nil {
				got = strings.ReplaceAll(err.Error(), folder+string(filepath.Separator), "")
			}
			if want := "load flow filter: " + tt.want; got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
	if _, err := Load(path + ".gone"); err == nil || !strings.Contains(err.Error(), path+".gone") {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Load(folder); err == nil || !strings.Contains(err.Error(), "it is not a regular file") {
		t.Errorf("a folder: %v", err)
	}
}

// TestRunaways: what takes too long is stopped, whatever it is busy with, and the record is kept.
func TestRunaways(t *testing.T) {
	for name, body := range map[string]string{
		"a loop":             "while true do end",
		"a loop in one line": "for n = 1, 1e15 do end",
		"an empty repeat":    "repeat until false",
		"goto":               "::again:: goto again",
		"recursion":          "local function f() return f() end f()",
		"caught":             "while true do pcall(function() while true do end end) end",
		"caught by xpcall":   "while true do xpcall(function() while true do end end, function() while true do end end) end",
		"a comparison":       "local t = {} for n = 1, 1000 do t[n] = n end while true do table.sort(t, function(a, b) return a > b end) end",
		"a replacement":      "(('x'):rep(100)):gsub('x', function() while true do end end)",
		"an index":           "local t = setmetatable({}, {__index = function() while true do end end}) local x = t.x",
		"a pattern":          "local x = (('a'):rep(2000)):find(('.-'):rep(20) .. 'b')",
		"long strings":       "local t = ('x'):rep(1000000) while true do local u = t .. t:upper() end",
		"joins":              "local t = {} for n = 1, 1000 do t[n] = 'x' end while true do table.concat(t, ',') end",
		"inserts":            "local t = {} while true do table.insert(t, 1, 1) end",
		"an iterator":        "for k in function() return 1 end do end",
		"a number as text":   "while true do tostring(1 / 3) end",
	} {
		t.Run(name, func(t *testing.T) {
			s, err := LoadWith(write(t, "f.lua", "function netflow(flow) "+body+"\nend"), Options{Timeout: time.Millisecond, MaxRunaways: 3})
			if err != nil {
				t.Fatal(err)
			}
			i := s.New()
			for range 5 {
				if got := run(i, flow()); !got.Keep || got.Rate != 1000 {
					t.Fatalf("%+v", got)
				}
			}
			got := statsOf(s)
			// A long string, a deep recursion or too many results may end it before its time is over.
			if !got.SwitchedOff && got.Errors != 5 || got.SwitchedOff && (got.Runaways != 3 || got.Calls != 3 || !strings.Contains(got.Why, "took longer than 1ms each")) {
				t.Errorf("%+v", got)
			}
			if got.Errors > 0 && name != "long strings" && name != "recursion" {
				t.Errorf("it ended by itself: %+v", got)
			}
		})
	}
}

// TestRunawaysInARow: only those in a row switch a script off.
func TestRunawaysInARow(t *testing.T) {
	s, err := LoadWith(write(t, "f.lua", "function netflow(flow) while flow.input == 1 do end end"), Options{Timeout: time.Millisecond, MaxRunaways: 3})
	if err != nil {
		t.Fatal(err)
	}
	i := s.New()
	for n, input := range []uint32{1, 1, 2, 1, 1, 2, 1, 1, 1, 2, 2} {
		f := flow()
		f.Input = input
		if !i.Keep(f) {
			t.Errorf("record %d was dropped", n)
		}
	}
	got := statsOf(s)
	got.Why = got.Why[:strings.Index(got.Why, " took")]
	want := Stats{
		Calls: 9, Runaways: 7, SwitchedOff: true, Why: "3 calls in a row",
		LastError: "f.lua:1: stopped: it takes too long (more than 1ms)",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

// TestMemory: a script that remembers without end is switched off, whichever way it remembers.
func TestMemory(t *testing.T) {
	for name, tt := range map[string]struct {
		script string
		grows  bool
	}{
		"a list":          {"local t = {} function netflow(flow) table.insert(t, flow.bytes .. 'x') end", true},
		"a global set":    {"t = {} function netflow(flow) t[flow.bytes] = true end", true},
		"a closure":       {"local f = nil function netflow(flow) local g, n = f, flow.bytes f = function() return g, n end end", true},
		"a hidden table":  {"local t = setmetatable({}, {__index = {}}) function netflow(flow) getmetatable(t).__index[flow.bytes] = {} end", true},
		"deleted keys":    {"local t = {} function netflow(flow) local k = 'k' .. flow.bytes t[k] = 1 t[k] = nil end", true},
		"a growing text":  {"local s = 'x' function netflow(flow) if #s < 500000 then s = s .. s end local t = {} for n = 1, 20 do t[n] = s .. n end all = t end", true},
		"a ring":          {"local t, n = {}, 0 function netflow(flow) n = n % 100 + 1 t[n] = flow.bytes .. 'x' end", false},
		"garbage":         {"function netflow(flow) local t = {} for n = 1, 50 do t[n] = {n} end end", false},
		"a distant index": {"function netflow(flow) local t = {} t[60000000] = 1 t[65535] = 1 return #t == 65535 end", false},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := LoadWith(write(t, "f.lua", tt.script), Options{Memory: 4 << 20, Timeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			i := s.New()
			f := flow()
			for n := range 300000 {
				f.Bytes = uint64(n)
				if !i.Keep(f) {
					t.Fatal("dropped")
				}
				if s.off.Load() != nil || n > 20000 && !tt.grows || n > 20 && name == "a distant index" {
					break
				}
			}
			got := statsOf(s)
			if got.SwitchedOff != tt.grows || got.Errors > 0 {
				t.Errorf("%+v", got)
			}
			if tt.grows && !strings.Contains(got.Why, "its variables hold more than 4 MiB") {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestFiles: a script reads files beside it while it is loaded, every instance the same, and none later.
func TestFiles(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"ports.json": `{"192.0.2.1": {"3": "transit", "9": null}, "list": [1, true, "x"]}`,
		"f.lua": `#!/usr/bin/lua
			local ports = require("json").decode(read_file("ports.json"))
			function netflow(flow)
				print(ports[flow.exporter]["3"], ports[flow.exporter]["9"], #ports.list, ports.list[1] + 1, ports.list[2], ports.list[3])
				return ports[flow.exporter][tostring(flow.input)] == nil
			end
			function sflow(flow) return read_file("ports.json") end`,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Load(filepath.Join(folder, "f.lua"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(folder, "ports.json")); err != nil {
		t.Fatal(err)
	}
	i := s.New()
	if i.Keep(flow()) || !i.Keep(flow6()) {
		t.Error("the file's list was not followed")
	}
	want := Stats{
		Calls: 2, Dropped: 1, Errors: 1, LastPrint: "transit\tnil\t3\t2\ttrue\tx",
		LastError: `f.lua:7: read_file("ports.json") in a hook; read the file once, outside of functions`,
	}
	if diff := cmp.Diff(statsOf(s), want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

// TestFailingInstance: a script whose statements fail in an instance, though they did not when it was loaded, keeps everything.
func TestFailingInstance(t *testing.T) {
	s := scriptOf(t, "function netflow(flow) return false end")
	err := os.WriteFile(s.path, []byte("error('this time')"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if s.code, err = sandbox.Compile(s.path, s.opts.sandbox()); err != nil {
		t.Fatal(err)
	}
	i := s.New()
	if !i.Keep(flow()) {
		t.Error("dropped")
	}
	if got, want := statsOf(s), (Stats{Errors: 1, LastError: "f.lua:1: this time"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
