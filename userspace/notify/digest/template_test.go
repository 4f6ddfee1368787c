package digest

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// The texts that people get are files: the message is the product. They are written anew by WEIR_WRITE_GOLDEN=1.
func TestStandardTexts(t *testing.T) {
	for name, text := range map[string]string{"plain": Plain(), "markdown": Markdown()} {
		c, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range Examples() {
			got, err := c.Render(m)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+"-"+[...]string{"bare", "known", "many"}[i]+".txt")
			if os.Getenv("WEIR_WRITE_GOLDEN") != "" {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		}
	}
}

func TestTemplateErrorsNameLineAndField(t *testing.T) {
	for text, want := range map[string]string{
		"{{.Title}}\n{{.Nonsense}}":                     `line 2, column 3: no field "Nonsense" in a message; it has Event, Key, `,
		"{{range .Attacks}}\n\n{{.Colour}}{{end}}":      `line 3, column 3: no field "Colour" in a attack; it has ID, Target, `,
		"{{.Peak.Total.Packet}}":                        `no field "Packet" in a count; it has Packets, Bytes`,
		"a\nb\n{{nofunction .Title}}":                   `read template: line 3: function "nofunction" not defined`,
		"{{if .Title}}":                                 `read template: line 1: unexpected EOF`,
		"{{index .Attacks 5}}":                          `line 1, column 3: at <index .Attacks 5>: error calling index: `,
		"{{duration .Title}}":                           `line 1, column 12: at <.Title>: wrong type for value`,
		`{{printf "%0999999d" 1}}`:                      `the text is longer than 64 KiB`,
		strings.Repeat("{{.Title}}text ", 5000) + "end": `the text is longer than 64 KiB`,
	} {
		err := ParseTemplate(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseTemplate(%.40q) gives %v, want %q in it", text, err, want)
		}
	}
}

func TestTextIsHarmless(t *testing.T) {
	m := Examples()[1]
	m.Attacks[0].Top[0].Name = "evil\x1b[31m\r\n`*_[x](http://example.net)\u202e"
	for name, text := range map[string]string{"plain": Plain(), "markdown": Markdown()} {
		c, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Render(m)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(got, "\x1b\r\u202e") {
			t.Errorf("%s holds control characters: %q", name, got)
		}
		if name == "markdown" && !strings.Contains(got, "evil\\[31m \\`\\*\\_\\[x\\](http://example.net)") {
			t.Errorf("markdown is not escaped: %q", got)
		}
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[uint64]string{0: "0 ", 7: "7 ", 999: "999 ", 1000: "1 k", 1234: "1.23 k", 9996: "10 k", 12_345: "12.3 k", 999_499: "999 k", 999_500: "1 M", 1 << 63: "9 E"} {
		if got := number(v); got != want {
			t.Errorf("number(%d) is %q, want %q", v, got, want)
		}
	}
	if got := source(traffic.SourceShare{Source: netip.MustParseAddr("2001:db8::1"), Share: 0.9999}); got != "2001:db8::1 100 %" {
		t.Errorf("source is %q", got)
	}
}
