package config

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzParse: any text is a configuration or a list of errors with places inside the text, never both, never a panic.
func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("testdata/err/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(paths, examplePath) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(uncommented(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("weir.yaml", data, readTestdata)
		if (c == nil) == (err == nil) {
			t.Fatalf("got %v and %v", c, err)
		}
		if err == nil {
			if len(c.Hostgroups) == 0 || c.Hostgroups[0].Name != defaultGroup {
				t.Errorf("the first hostgroup is not default: %v", c.Hostgroups)
			}
			for _, m := range c.Members(nil) {
				if m.Prefix != m.Prefix.Masked() || m.Group < 0 || m.Group >= len(c.Hostgroups) {
					t.Errorf("got member %v", m)
				}
			}
			checkBGP(t, c)
			checkMeasuring(t, c)
			return
		}
		var errs Errors
		if !errors.As(err, &errs) || len(errs) == 0 {
			t.Fatalf("got %T %v, want Errors", err, err)
		}
		for _, e := range errs {
			if e.Message == "" || e.Line < 1 || e.Column < 1 || (e.File == "weir.yaml" && e.Line > 1+lineBreaks(data)) {
				t.Errorf("got error %+v in a text of %d line breaks", e, lineBreaks(data))
			}
		}
	})
}

// checkBGP holds the section "bgp" of a valid configuration against what whoever uses it relies on.
func checkBGP(t *testing.T, c *Config) {
	t.Helper()
	names := map[string]bool{}
	for _, a := range c.BGP.Actions {
		names[a.Name] = true
		if len(a.Announcements) == 0 || (a.Kind == BGPFlowSpec) != (len(a.Rules) > 0 || a.Found) || a.OverNeverBan && a.Kind != BGPDivert {
			t.Errorf("got action %+v", a)
		}
		for family, floor := range []int{8, 16} {
			if a.Widest[family] < floor || a.Length[family] != BGPLengthNetwork && a.Length[family] < a.Widest[family] {
				t.Errorf("got action %s with lengths %v, at the widest %v", a.Name, a.Length, a.Widest)
			}
		}
		for _, r := range a.Rules {
			if r.Destination.IsValid() || r.DestinationOffset != 0 || len(r.Payload) > 0 {
				t.Errorf("got rule %v", r)
			}
		}
		for _, one := range a.Announcements {
			for _, peer := range one.Peers {
				if !slices.Contains(c.BGP.Receivers(), peer) {
					t.Errorf("action %s is for %q, whom nobody knows", a.Name, peer)
				}
			}
			for family, hop := range one.NextHop {
				if hop.IsValid() && hop.Is4() != (family == 0) {
					t.Errorf("got next hops %v", one.NextHop)
				}
			}
		}
	}
	for _, g := range c.Hostgroups {
		for _, name := range g.Actions {
			if !names[name] {
				t.Errorf("hostgroup %s has action %q, which is none", g.Name, name)
			}
		}
	}
	if c.BGP.Speaks() && (c.BGP.AS == 0 || !c.BGP.RouterID.Is4()) {
		t.Errorf("got peers, router ID %s and AS %d", c.BGP.RouterID, c.BGP.AS)
	}
	for _, p := range c.BGP.Peers {
		if p.Name == "" || !p.Address.IsValid() || p.AS == 0 || p.Keepalive < time.Second || p.Keepalive >= p.HoldTime || len(p.Families) == 0 {
			t.Errorf("got peer %+v", p)
		}
	}
}

// lineBreaks counts what YAML 1.1 takes for the end of a line.
func lineBreaks(data []byte) int {
	n := bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) - bytes.Count(data, []byte("\r\n"))
	for _, other := range []string{"\u0085", "\u2028", "\u2029"} {
		n += bytes.Count(data, []byte(other))
	}
	return n
}

// FuzzList: each line of a list file is a network, an error, or nothing; networks read back as they were written.
func FuzzList(f *testing.F) {
	paths, err := filepath.Glob("testdata/lists/*")
	if err != nil || len(paths) == 0 {
		f.Fatalf("got lists %v, %v", paths, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, errs := parseList("own.list", text)
		lines := strings.Split(text, "\n")
		if len(list)+len(errs) > len(lines) {
			t.Errorf("got %d networks and %d errors from %d lines", len(list), len(errs), len(lines))
		}
		for _, p := range list {
			if back, err := netip.ParsePrefix(p.prefix.String()); err != nil || back != p.prefix || back.Masked() != back {
				t.Errorf("got %v, which reads back as %v, %v", p.prefix, back, err)
			}
		}
		for _, e := range errs {
			if e.Line < 1 || e.Line > len(lines) || e.Column < 1 || e.Column > utf8.RuneCountInString(lines[e.Line-1])+1 {
				t.Errorf("got error %+v", e)
			}
		}
	})
}
