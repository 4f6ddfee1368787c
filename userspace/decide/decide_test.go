package decide

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// TestShapes: what hooks see.
func TestShapes(t *testing.T) {
	s := scriptOf(t, `
		local function all(x)
			local list = {}
			for k, v in pairs(x) do
				if type(v) == "table" then v = "[" .. table.concat(v, "; ") .. "]" end
				list[#list + 1] = k .. "=" .. tostring(v)
			end
			table.sort(list)
			return table.concat(list, "\31")
		end
		function on_threshold(event) print(all(event)) end
		function on_attack(attack) print(all(attack)) end
		function on_mitigate(attack, response) print(all(response)) end`)
	const target = "target=203.0.113.7 scope=host direction=incoming hostgroup=default "
	const of = "metric=mbps value=1500 threshold=1000 hosts=1 started=1.7673551995e+09 "
	for name, tt := range map[string]struct {
		ask  func()
		want string
	}{
		"event": {func() { s.Threshold(event()) }, target + of + "window=1 at=1.7673552005e+09 why=..."},
		"attack": {func() { s.Attack(attack()) }, target + of + "id=01K pps=120000 bps=1500000000 flows=900 peak_pps=200000 peak_bps=2000000000 " +
			"manual=false phase=active detected=1.7673552005e+09 class=dns_amplification confidence=0.97 sources=reflectors rules=... why=..."},
		"response": {func() { s.Mitigate(record()) }, "drop=true notify=true dry_run=false manual=false does=... ban_time=1800 rung=2 rungs=3 rules=filter announce=[scrub]"},
		"outgoing": {func() {
			a := attack()
			a.Target.Direction, a.Analysis = traffic.Outgoing, nil
			s.Attack(a)
		}, strings.Replace(target, "incoming", "outgoing", 1) + of + "id=01K pps=7 bps=5600 flows=3 peak_pps=200000 peak_bps=2000000000 manual=false phase=active " +
			"detected=1.7673552005e+09 rules=[] why=..."},
		"by hand": {func() { s.Attack(&traffic.Attack{Target: on("web"), Manual: true}) },
			"target=hostgroup web scope=hostgroup direction=incoming hostgroup=web hosts=0 started=0 id= pps=0 bps=0 flows=0 peak_pps=0 peak_bps=0 manual=true " +
				"phase=suspected detected=0 rules=[] why=by hand"},
		"watching": {func() { s.Mitigate(&traffic.Record{}) }, "drop=false notify=false dry_run=false manual=false does=watch announce=[]"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.ask()
			if got := s.Stats().LastError; got != "" {
				t.Fatal(got)
			}
			if diff := cmp.Diff(fieldsOf(tt.want, " "), fieldsOf(s.Stats().LastPrint, " ")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// fieldsOf reads "name=value ...": a blank belongs to a value unless a name follows it.
func fieldsOf(text, blank string) map[string]string {
	fields := map[string]string{}
	last := ""
	for _, word := range strings.Split(text, blank) {
		if name, value, ok := strings.Cut(word, "="); ok && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") == "" {
			fields[name], last = value, name
		} else if word != "" {
			fields[last] += blank + word
		}
	}
	for _, name := range []string{"does", "rules", "why"} { // sentences of other packages
		if v, ok := fields[name]; ok && len(v) > 10 {
			fields[name] = "..."
		}
	}
	return fields
}

func TestLoadErrors(t *testing.T) {
	for _, tt := range []struct{ script, want string }{
		{"", "load hooks: h.lua: it defines none of on_threshold(event), on_attack(attack) and on_mitigate(attack, response)"},
		{"on_attack = 1", "load hooks: h.lua: on_attack is a number; expected a function"},
		{"\nfunction on_attack( end", `load hooks: h.lua:2: syntax error near "end"`},
		{"function on_attack() end\n\nnil_thing.x = 1", "load hooks: h.lua:3: attempt to index a non-table object(nil) with key 'x'"},
		{"os.exit()", "load hooks: h.lua:1: a hook has no os"},
		{"function on_attack() end while true do end", "load hooks: h.lua:1: stopped: it takes too long (more than 50ms)"},
		{"function on_attack() end t = {} for n = 1, 20 do t[n] = ('x'):rep(1000000) .. n end", "load hooks: h.lua: its values take more than 16777216 bytes"},
	} {
		limit := 50 * time.Millisecond
		if strings.Contains(tt.script, "rep") {
			limit = time.Minute
		}
		_, err := load(t, tt.script, Options{LoadTimeout: limit})
		got := "no error"
		if err != nil {
			before, after, _ := strings.Cut(err.Error(), os.TempDir())
			got = before + after[strings.LastIndex(after, "/h.lua")+1:]
		}
		if got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.script, got, tt.want)
		}
	}
}

// TestErrors: after an error Weir's own decision stays, and the line is told.
func TestErrors(t *testing.T) {
	for body, want := range map[string]string{
		"\nlocal x = attack.nonsense":                      `h.lua:2: an attack has no field "nonsense"`,
		"return response.x":                                `h.lua:1: a response has no field "x"`,
		"error('mine')":                                    "h.lua:1: mine",
		"error({})":                                        "error with a table",
		"\n\nreturn attack.pps .. nil":                     "h.lua:3: attempt to concatenate a nil value",
		"return setmetatable(attack, {})":                  "h.lua:1: cannot change a protected metatable",
		"read_file('h.lua')":                               `h.lua:1: read_file("h.lua") in a hook; read the file once, outside of functions`,
		"networks{}:has_target('x')":                       "h.lua:1: bad argument #2 to has_target (table expected, got string)",
		"local function f() return 1 + f() end return f()": "h.lua:1: stack overflow",
	} {
		s := scriptOf(t, "function on_mitigate(attack, response) "+body+" end")
		for range 5 {
			if got := s.Mitigate(record()); got.Any() {
				t.Errorf("%s: %+v", body, got)
			}
		}
		got := statsOf(s)
		if !strings.HasPrefix(got.LastError, want) {
			t.Errorf("%s\n got %s\nwant %s", body, got.LastError, want)
		}
		got.LastError = ""
		if want := (Stats{Calls: 5, Errors: 5}); got != want {
			t.Errorf("%s: got %+v, want %+v", body, got, want)
		}
	}
}

// TestRunaways: what takes too long or makes too much is stopped, and switched off when it does so again and again; the other hooks as well.
func TestRunaways(t *testing.T) {
	const script = `
		function on_attack(attack)
			while attack.hosts == 1 do end
			local t = {}
			while attack.hosts == 2 do t[#t + 1] = ("x"):rep(100000) .. #t end
			return false
		end
		function on_threshold() return false end`
	s, err := load(t, script, Options{Timeout: 5 * time.Millisecond, Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for n, hosts := range []int{1, 1, 3, 2, 1, 3, 1, 2, 1, 3} {
		a := attack()
		a.Hosts = hosts
		if got, want := s.Attack(a).Veto, hosts == 3 && n < 9; got != want {
			t.Errorf("call %d: veto %v, want %v", n, got, want)
		}
	}
	if s.Threshold(event()).Veto {
		t.Error("a hook was called of a script that is switched off")
	}
	want := Stats{
		Calls: 9, Vetoes: 2, Stopped: 7, SwitchedOff: true, LastError: "h.lua:3: stopped: it takes too long (more than 5ms)",
		Why: "3 calls in a row were stopped; the last at h.lua:3: stopped: it takes too long (more than 5ms)",
	}
	if diff := cmp.Diff(want, statsOf(s)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	again, err := New(s.o, s.log)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Threshold(event()).Veto || again.Stats().SwitchedOff {
		t.Errorf("after a reload: %+v", again.Stats())
	}
}

// TestMemory: a script that remembers without end is switched off, and its last answer still counts.
func TestMemory(t *testing.T) {
	s, err := load(t, "local t = {} function on_attack(attack) for n = 1, 500 do t[#t + 1] = attack.id .. n .. '/' .. #t end return false end",
		Options{Memory: 1 << 20, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	vetoes := 0
	for n := range 2000 {
		a := attack()
		a.ID = fmt.Sprint(n)
		if s.Attack(a).Veto {
			vetoes++
		}
	}
	got := statsOf(s)
	if want := "h.lua: its variables hold more than 1048576 bytes; what it remembers must be bounded"; got.Why != want || got.Calls == 2000 || got.Vetoes != uint64(vetoes) || got.Calls != got.Vetoes {
		t.Errorf("%d vetoes, %+v", vetoes, got)
	}
}

// TestAbsent: a hook that the script does not define costs nothing and says nothing.
func TestAbsent(t *testing.T) {
	s := scriptOf(t, "function on_threshold() return false end")
	if s.Attack(attack()).Veto || s.Mitigate(record()).Any() || statsOf(s).Calls != 0 {
		t.Errorf("%+v", s.Stats())
	}
}

func TestHasTarget(t *testing.T) {
	s := scriptOf(t, `local ours = networks{"203.0.113.0/24", "2001:db8::/32"} function on_attack(attack) return ours:has_target(attack) end`)
	for target, want := range map[string]bool{
		"203.0.113.7": true, "203.0.114.7": false, "203.0.113.0/25": true, "203.0.113.0/24": true, "203.0.112.0/23": false,
		"2001:db8::1": true, "2001:db8:1::/48": true, "2001::/16": false, "web": false,
	} {
		a := attack()
		a.Target = on(target)
		if got := !s.Attack(a).Veto; got != want || s.Stats().Errors > 0 {
			t.Errorf("%s: got %v, want %v; %s", target, got, want, s.Stats().LastError)
		}
	}
}
