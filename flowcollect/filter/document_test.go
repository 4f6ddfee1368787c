package filter

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"weir/userspace/traffic"
)

// TestExamples runs the scripts that docs/FILTERS.md shows.
func TestExamples(t *testing.T) {
	from := func(f *traffic.Flow, exporter string, input, output uint32) *traffic.Flow {
		f.Exporter, f.Input, f.Output = netip.MustParseAddr(exporter), input, output
		return f
	}
	change := func(f *traffic.Flow, c func(*traffic.Flow)) *traffic.Flow {
		c(f)
		return f
	}
	for _, tt := range []struct {
		script, name string
		flow         *traffic.Flow
		want         bool
		rate         uint32
	}{
		{"borders.lua", "in by a border", from(flow(), "192.0.2.1", 3, 9), true, 1000},
		{"borders.lua", "out by a border", from(flow(), "192.0.2.2", 1, 17), true, 1000},
		{"borders.lua", "inside of a border router", from(flow(), "192.0.2.1", 8, 9), false, 1000},
		{"borders.lua", "a core router", from(flow(), "192.0.2.77", 3, 4), false, 1000},
		{"borders.lua", "a probe", change(from(flow(), "192.0.2.1", 3, 9), func(f *traffic.Flow) { f.Src = netip.MustParseAddr("198.51.100.250") }), false, 1000},
		{"borders.lua", "not sampled, it says", change(from(flow(), "192.0.2.2", 17, 1), func(f *traffic.Flow) { f.Rate = 1 }), true, 1024},
		{"borders.lua", "sample", flow6(), true, 1000},
		{"borders.lua", "notice", change(flow6(), func(f *traffic.Flow) { f.Notice = true }), false, 1000},
		{"borders.lua", "sample of BGP", change(flow6(), func(f *traffic.Flow) { f.DstPort = 179 }), false, 1000},
		{"excluded_ports.lua", "excluded", from(flow(), "192.0.2.1", 12, 3), false, 1000},
		{"excluded_ports.lua", "another interface", from(flow(), "192.0.2.1", 4, 3), true, 1000},
		{"excluded_ports.lua", "another router", from(flow(), "192.0.2.9", 3, 3), true, 1000},
		{"excluded_ports.lua", "excluded sample", from(flow6(), "2001:db8::1", 1, 7), false, 1000},
		{"excluded_ports.lua", "another sample", from(flow6(), "2001:db8::1", 7, 1), true, 1000},
	} {
		t.Run(tt.script+", "+tt.name, func(t *testing.T) {
			s, err := Load("../../docs/filters/" + tt.script)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.New().Keep(tt.flow); got != tt.want || tt.flow.Rate != tt.rate {
				t.Errorf("kept %v with rate %d, want %v with %d", got, tt.flow.Rate, tt.want, tt.rate)
			}
			if got := s.Stats(); got.LastError != "" {
				t.Error(got.LastError)
			}
		})
	}
}

// TestDocument: the scripts and rules in docs/FILTERS.md are ones, it has each field under each name, and each example.
func TestDocument(t *testing.T) {
	data, err := os.ReadFile("../../docs/FILTERS.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	scripts, rules := 0, 0
	for i, block := range strings.Split(text, "```") {
		if i%2 == 0 {
			continue
		}
		if body, is := strings.CutPrefix(block, "lua\n"); is {
			scripts++
			s := scriptOf(t, body)
			n := s.New()
			n.Keep(flow())
			n.Keep(flow6())
			if got := s.Stats(); got.LastError != "" || got.Calls == 0 {
				t.Errorf("%s%+v", body, got)
			}
		}
		if body, is := strings.CutPrefix(block, "rule\n"); is {
			var lines []string
			for line := range strings.Lines(body) {
				lines = append(lines, strings.TrimSpace(line))
			}
			rules += len(rulesOf(t, lines...).rules)
		}
	}
	if scripts < 2 || rules < 3 {
		t.Errorf("got %d scripts and %d rules", scripts, rules)
	}
	for _, f := range fields() {
		if !strings.Contains(text, "`"+f.name+"`") {
			t.Errorf("field %s is not documented", f.name)
		}
	}
	for _, name := range []string{"borders.lua", "excluded_ports.lua", "excluded_ports.json"} {
		if !strings.Contains(text, "(filters/"+name+")") {
			t.Errorf("%s is not linked", name)
		}
	}
}
