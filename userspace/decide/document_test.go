package decide

import (
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

const document = "../../docs/HOOKS.md"

// TestExample runs the script that docs/HOOKS.md points to.
func TestExample(t *testing.T) {
	example := func(t *testing.T) *Script {
		s, err := New(Options{Path: "../../docs/hooks/decisions.lua", Timeout: 10 * time.Second}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	to := func(target string) *traffic.Record {
		r := record()
		r.Attack.Target = on(target)
		return r
	}
	real := to("203.0.113.7")
	real.Attack.Analysis.Sources = "real"
	for name, tt := range map[string]struct {
		ask  func(s *Script) Change
		want Change
	}{
		"an attack":      {func(s *Script) Change { return s.Mitigate(to("203.0.113.7")) }, Change{}},
		"asks first":     {func(s *Script) Change { return s.Mitigate(to("198.51.100.9")) }, Change{Veto: true, Why: "this customer wants to be asked first"}},
		"carpet bombing": {func(s *Script) Change { return s.Mitigate(to("2001:db8:a5c:1::/64")) }, Change{Veto: true, Why: "this customer wants to be asked first"}},
		"name server":    {func(s *Script) Change { return s.Mitigate(to("203.0.113.53")) }, Change{Drop: new(false), Why: "a name server is never dropped as a whole"}},
		"real sources":   {func(s *Script) Change { return s.Mitigate(real) }, Change{Communities: []string{"64500:666"}}},
		"again": {func(s *Script) Change {
			for range 3 {
				s.Attack(attack())
			}
			return s.Mitigate(record())
		}, Change{Rung: 3, BanTime: new(24 * time.Hour), Why: "attacked again and again"}},
		"a load test": {func(s *Script) Change {
			e := event()
			e.Target = on("203.0.113.240")
			return Change{Veto: s.Threshold(e).Veto}
		}, Change{Veto: true}},
		"a threshold": {func(s *Script) Change { return Change{Veto: s.Threshold(event()).Veto} }, Change{}},
		"backups": {func(s *Script) Change {
			e := event()
			e.Target = on("backups")
			return Change{Veto: s.Threshold(e).Veto}
		}, Change{Veto: true}},
		"our own": {func(s *Script) Change {
			a := attack()
			a.Target.Direction, a.Trip.Metric, a.Trip.Limit = traffic.Outgoing, traffic.PPS, 1000
			return Change{Veto: s.Attack(a).Veto}
		}, Change{Veto: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := example(t)
			if diff := cmp.Diff(tt.want, tt.ask(s)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if got := s.Stats(); got.Errors+got.Stopped > 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestDocument: the scripts in docs/HOOKS.md run, and its tables name each field that hooks see and no other.
func TestDocument(t *testing.T) {
	data, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	scripts := regexp.MustCompile("(?s)```lua\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(scripts) < 2 {
		t.Fatalf("got %d scripts", len(scripts))
	}
	for _, script := range scripts {
		s := scriptOf(t, script[1])
		s.Threshold(event())
		s.Attack(attack())
		s.Mitigate(record())
		if got := s.Stats(); got.Errors+got.Stopped > 0 || got.Calls == 0 {
			t.Errorf("%s%+v", script[1], got)
		}
	}
	s := scriptOf(t, `
		local function names(x) local list = {} for k in pairs(x) do list[#list + 1] = k end table.sort(list) return table.concat(list, " ") end
		function on_threshold(event) print(names(event)) end
		function on_attack(attack) print(names(attack)) end
		function on_mitigate(attack, response) print(names(response)) end`)
	for heading, ask := range map[string]func(){
		"### `event`":    func() { s.Threshold(event()) },
		"### `attack`":   func() { s.Attack(attack()) },
		"### `response`": func() { s.Mitigate(record()) },
	} {
		ask()
		_, section, ok := strings.Cut(text, heading+"\n")
		if !ok {
			t.Errorf("no section %s", heading)
			continue
		}
		section, _, _ = strings.Cut(section, "\n#")
		documented := map[string]bool{}
		for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*)\\|").FindAllStringSubmatch(section, -1) {
			for _, name := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[1], -1) {
				documented[name[1]] = true
			}
		}
		shown := map[string]bool{}
		for _, name := range strings.Fields(s.Stats().LastPrint) {
			shown[name] = true
		}
		if diff := cmp.Diff(shown, documented); diff != "" {
			t.Errorf("%s (-shown +documented)\n%s", heading, diff)
		}
	}
}
