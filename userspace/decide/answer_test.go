package decide

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMitigate has each answer that changes something, and each that is none.
func TestMitigate(t *testing.T) {
	fifty := strings.Repeat("1:1,", 49) + "1:1"
	for _, tt := range []struct {
		answer string
		want   Change
		err    string // behind file, line and hook
	}{
		{"return", Change{}, ""},
		{"return nil", Change{}, ""},
		{"return true", Change{}, ""},
		{"return {}", Change{}, ""},
		{"return {veto = false}", Change{}, ""},
		{"return {why = 'only words'}", Change{Why: "only words"}, ""},
		{"return false", Change{Veto: true, Why: "vetoed by on_mitigate in h.lua"}, ""},
		{"return {veto = true}", Change{Veto: true, Why: "vetoed by on_mitigate in h.lua"}, ""},
		{"return {veto = true, why = ' \\n ', rung = 1}", Change{Veto: true, Why: "vetoed by on_mitigate in h.lua"}, ""},
		{"return {veto = true, why = 'a\\nb\\0c\\255d'}", Change{Veto: true, Why: "a b c?d"}, ""},
		{"return {veto = true, why = ('x'):rep(501)}", Change{Veto: true, Why: strings.Repeat("x", 500) + "..."}, ""},
		{"return {drop = false, notify = true}", Change{Drop: new(false), Notify: new(true)}, ""},
		{"return {rung = 3, ban_time = 1.5, why = 'x'}", Change{Rung: 3, BanTime: new(1500 * time.Millisecond), Why: "x"}, ""},
		{"return {ban_time = 0}", Change{BanTime: new(time.Duration(0))}, ""},
		{"return {ban_time = 1e-300}", Change{BanTime: new(time.Duration(1))}, ""},
		{"return {communities = {'64500:666', '65535:0', '064500:0666'}}", Change{Communities: []string{"64500:666", "65535:0"}}, ""},
		{"return {communities = {}}", Change{}, ""},
		{"local t = {} for n in ('" + fifty + "'):gmatch('[^,]+') do t[#t + 1] = n end return {communities = t}", Change{Communities: []string{"1:1"}}, ""},

		{"return 1", Change{}, "the answer is a number; expected nothing or true to go on, false to veto, or a table"},
		{"return 'no'", Change{}, "the answer is a string; expected nothing or true to go on, false to veto, or a table"},
		{"return print", Change{}, "the answer is a function; expected nothing or true to go on, false to veto, or a table"},
		{"return {vetoed = true}", Change{}, `the answer has "vetoed"; expected veto, why, drop, notify, rung, ban_time, communities`},
		{"return {'veto'}", Change{}, "the answer has 1; expected veto, why, drop, notify, rung, ban_time, communities"},
		{"return {[{}] = 1}", Change{}, "the answer has a table; expected veto, why, drop, notify, rung, ban_time, communities"},
		{"local t = {} for n = 1, 100000 do t['k' .. n] = n end return t", Change{}, "the answer has more than 64 entries; expected veto, why, drop, notify, rung, ban_time, communities"},
		{"return {veto = 'yes'}", Change{}, "the answer's veto is a string; expected true or false"},
		{"return {veto = true, why = 1}", Change{}, "the answer's why is a number; expected a text"},
		{"return {drop = 0, notify = 1}", Change{}, "the answer's drop is a number; expected true or false"},
		{"return {rung = 0}", Change{}, "the answer's rung is 0; expected a whole number from 1 to 3"},
		{"return {rung = 4, drop = true}", Change{}, "the answer's rung is 4; expected a whole number from 1 to 3"},
		{"return {rung = 1.5}", Change{}, "the answer's rung is 1.5; expected a whole number from 1 to 3"},
		{"return {rung = 0 / 0}", Change{}, "the answer's rung is NaN; expected a whole number from 1 to 3"},
		{"return {rung = '2'}", Change{}, `the answer's rung is "2"; expected a whole number from 1 to 3`},
		{"return {ban_time = -1}", Change{}, "the answer's ban_time is -1; expected seconds from 0 (it ends by hand only) to 31536000"},
		{"return {ban_time = 1 / 0}", Change{}, "the answer's ban_time is +Inf; expected seconds from 0 (it ends by hand only) to 31536000"},
		{"return {ban_time = {}}", Change{}, "the answer's ban_time is a table; expected seconds from 0 (it ends by hand only) to 31536000"},
		{"return {communities = '64500:666'}", Change{}, `the answer's communities is a string; expected a list such as {"64500:666"}`},
		{"return {communities = {'64500'}}", Change{}, `the answer's communities has "64500"; expected texts such as "64500:666", both numbers from 0 to 65535`},
		{"return {communities = {'64500:65536'}}", Change{}, `the answer's communities has "64500:65536"; expected texts such as "64500:666", both numbers from 0 to 65535`},
		{"return {communities = {'1:+1'}}", Change{}, `the answer's communities has "1:+1"; expected texts such as "64500:666", both numbers from 0 to 65535`},
		{"return {communities = {42}}", Change{}, `the answer's communities has 42; expected texts such as "64500:666", both numbers from 0 to 65535`},
		{"return {communities = {a = '1:1'}}", Change{}, `the answer's communities is not a list; expected one such as {"64500:666"}, without gaps`},
		{"return {communities = {'1:1', nil, '1:2'}}", Change{}, `the answer's communities is not a list; expected one such as {"64500:666"}, without gaps`},
		{"local t = {} for n = 1, 65 do t[n] = '1:1' end return {communities = t}", Change{}, "the answer's communities has more than 64 entries"},
	} {
		t.Run(tt.answer, func(t *testing.T) {
			s := scriptOf(t, "\nfunction on_mitigate(attack, response)\n"+tt.answer+"\nend")
			got := s.Mitigate(record())
			got.Why = s.short(got.Why)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			want := Stats{Calls: 1}
			switch {
			case tt.err != "":
				want.Errors, want.LastError = 1, "h.lua:2: on_mitigate: "+tt.err
			case tt.want.Veto:
				want.Vetoes = 1
			case tt.want.Any():
				want.Changes = 1
			}
			if diff := cmp.Diff(want, statsOf(s)); diff != "" {
				t.Errorf("stats (-want +got)\n%s", diff)
			}
		})
	}
	s := scriptOf(t, "function on_mitigate() return {rung = 1} end")
	r := record()
	r.Ban.Response = nil
	if got := s.Mitigate(r); got.Any() || !strings.HasSuffix(s.Stats().LastError, "the answer's rung is not possible: the hostgroup has no ladder of responses") {
		t.Errorf("without a ladder: %+v, %+v", got, s.Stats())
	}
}

// TestVerdicts: the hooks that only let pass or veto take no other wishes.
func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		answer string
		want   Verdict
		err    string
	}{
		{"return", Verdict{}, ""},
		{"return true", Verdict{}, ""},
		{"return {veto = false, why = 'x'}", Verdict{Why: "x"}, ""},
		{"return {veto = true, why = 'x'}", Verdict{true, "x"}, ""},
		{"return {drop = false}", Verdict{}, `the answer has "drop"; expected veto, why`},
		{"return {veto = true, communities = {}}", Verdict{}, `the answer has "communities"; expected veto, why`},
	} {
		for name, ask := range map[string]func(*Script) Verdict{
			"on_threshold": func(s *Script) Verdict { return s.Threshold(event()) },
			"on_attack":    func(s *Script) Verdict { return s.Attack(attack()) },
		} {
			t.Run(name+" "+tt.answer, func(t *testing.T) {
				s := scriptOf(t, "function "+name+"(x) "+tt.answer+" end")
				if diff := cmp.Diff(tt.want, ask(s)); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				want := Stats{Calls: 1}
				if tt.want.Veto {
					want.Vetoes = 1
				}
				if tt.err != "" {
					want.Errors, want.LastError = 1, "h.lua:1: "+name+": "+tt.err
				}
				if diff := cmp.Diff(want, statsOf(s)); diff != "" {
					t.Errorf("stats (-want +got)\n%s", diff)
				}
			})
		}
	}
}
