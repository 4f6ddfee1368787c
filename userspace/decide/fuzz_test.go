package decide

import (
	"os"
	"testing"
	"time"
	"unicode/utf8"

	"weir/userspace/traffic"
)

// FuzzAnswer: whatever hooks do and answer, what comes out is valid, and never both an error and a wish.
func FuzzAnswer(f *testing.F) {
	text, err := os.ReadFile("../../docs/hooks/decisions.lua")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	for _, answer := range []string{
		"false", "{veto = true, why = '\\255\\n'}", "{rung = 2, drop = false, notify = true, ban_time = 0.5}", "{rung = -1e308}", "{ban_time = 0 / 0}",
		"{communities = {'64500:666', 'x'}}", "{communities = setmetatable({}, {__index = function() while true do end end})}", "attack", "attack.nonsense",
		"{[1] = 1, [{}] = {}}", "setmetatable({}, {__index = {veto = true}})", "(function(...) return ... end)()", "('x'):rep(1e6)", "networks{'::/0'}", "1e400",
	} {
		f.Add("function on_mitigate(attack, response) return " + answer + "\nend on_attack, on_threshold = on_mitigate, on_mitigate")
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := load(t, text, Options{Timeout: time.Millisecond, LoadTimeout: 10 * time.Millisecond, Memory: 2 << 20})
		if err != nil {
			return
		}
		for range 3 {
			before := s.Stats()
			first, second := s.Threshold(event()), s.Attack(attack())
			r := record()
			c := s.Mitigate(r)
			after := s.Stats()
			for _, v := range []Verdict{first, second, {c.Veto, c.Why}} {
				if v.Veto && v.Why == "" || !utf8.ValidString(v.Why) || len(v.Why) > 600 {
					t.Errorf("%+v", v)
				}
			}
			switch {
			case c.Veto && (c.Drop != nil || c.Notify != nil || c.Rung != 0 || c.BanTime != nil || c.Communities != nil),
				c.Rung < 0 || c.Rung > 3, c.BanTime != nil && (*c.BanTime < 0 || *c.BanTime > maxBanTime), len(c.Communities) > maxCommunities:
				t.Errorf("%+v", c)
			}
			for _, one := range c.Communities {
				var n int
				for _, r := range one {
					if r == ':' {
						n++
					} else if r < '0' || r > '9' {
						n = 9
					}
				}
				if n != 1 {
					t.Errorf("community %q", one)
				}
			}
			wishes := after.Vetoes + after.Changes - before.Vetoes - before.Changes
			bad := after.Errors + after.Stopped - before.Errors - before.Stopped
			if wishes+bad > after.Calls-before.Calls || !utf8.ValidString(after.LastError) || !utf8.ValidString(after.LastPrint) {
				t.Errorf("from %+v to %+v", before, after)
			}
		}
	})
}

// BenchmarkHooks measures a call, its tables included.
func BenchmarkHooks(b *testing.B) {
	for _, bm := range []struct {
		name, script string
		ask          func(*Script, *traffic.Record)
	}{
		{"threshold, nothing", "function on_threshold(event) end", func(s *Script, _ *traffic.Record) { s.Threshold(event()) }},
		{"attack, nothing", "function on_attack(attack) end", func(s *Script, r *traffic.Record) { s.Attack(&r.Attack) }},
		{"attack, networks", `local n = networks{"203.0.113.0/24"} function on_attack(attack) return not n:has_target(attack) end`,
			func(s *Script, r *traffic.Record) { s.Attack(&r.Attack) }},
		{"mitigate, a change", "function on_mitigate(attack, response) return {rung = 3, communities = {'64500:666'}} end", func(s *Script, r *traffic.Record) { s.Mitigate(r) }},
		{"mitigate, an error", "function on_mitigate(attack, response) return attack.nonsense end", func(s *Script, r *traffic.Record) { s.Mitigate(r) }},
	} {
		b.Run(bm.name, func(b *testing.B) {
			s := scriptOf(b, bm.script)
			r := record()
			b.ReportAllocs()
			for range b.N {
				bm.ask(s, r)
			}
		})
	}
}
