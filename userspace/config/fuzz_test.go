package config

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
