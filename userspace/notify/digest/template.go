package digest

import (
	_ "embed" // the standard texts
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"unicode/utf8"
)

// The standard texts: for screens that show characters as they are, and for those that know Markdown.
var (
	//go:embed templates/plain.tmpl
	plain string
	//go:embed templates/markdown.tmpl
	markdown string
)

// Plain is the template of the standard text without markup.
func Plain() string { return plain }

// Markdown is the template of the standard text in Markdown.
func Markdown() string { return markdown }

// MaxText is how many bytes a message's text may have.
const MaxText = 64 << 10

// errLong ends the execution of a template that writes too much.
var errLong = errors.New("the text is longer than 64 KiB; write less")

// Template makes a message's text. It may be used by any goroutine.
type Template struct{ template *template.Template }

// Compile reads a text/template that is executed over a Message, and tries it on examples: one attack that nothing is known of, one of which everything is,
// and many. Beside Go's own functions there are: rate (of counts: "1.2 Mpps, 9.6 Gbit/s"), amount (of a count: "3.1 M packets, 4.0 GB"), number, duration,
// time (RFC 3339, UTC), percent, source (of one of .Top), join, upper, escape (for Markdown), code (within Markdown's backticks).
// An error says the line, and the field or function.
func Compile(text string) (*Template, error) {
	t, err := template.New("text").Option("missingkey=error").Funcs(functions()).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("read template: %s", plainly(err))
	}
	out := &Template{t}
	for _, m := range Examples() {
		if _, err := out.Render(m); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ParseTemplate reports what is wrong with a template's text, as Compile would.
func ParseTemplate(text string) error {
	_, err := Compile(text)
	return err
}

// Render makes the message's text: at most MaxText bytes of UTF-8 without control characters but line ends and tabs.
func (t *Template) Render(m Message) (string, error) {
	var b bounded
	if err := t.template.Execute(&b, m); err != nil {
		return "", fmt.Errorf("use template: %s", plainly(err))
	}
	return Clean(b.String()), nil
}

// Clean takes out what could disturb a terminal or a protocol: control characters and broken UTF-8.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return -1
		}
		return r
	}, s)
}

// bounded is a buffer that refuses too much.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > MaxText {
		return 0, errLong
	}
	return b.Builder.Write(p)
}

// plainly says what text/template says, with the line first and without the names of this program.
func plainly(err error) string {
	if errors.Is(err, errLong) {
		return errLong.Error()
	}
	s := strings.TrimPrefix(err.Error(), "template: ")
	line := ""
	if m := regexp.MustCompile(`^text:(\d+)(:\d+)?: `).FindStringSubmatch(s); m != nil {
		s = s[len(m[0]):]
		line = "line " + m[1]
		if m[2] != "" {
			if column, err := strconv.Atoi(m[2][1:]); err == nil {
				line += ", column " + strconv.Itoa(column+1)
			}
		}
		line += ": "
	}
	s = strings.TrimPrefix(s, `executing "text" `)
	if m := regexp.MustCompile(`can't evaluate field (\w+) in type \*?(?:digest|traffic)\.(\w+)$`).FindStringSubmatch(s); m != nil {
		s = fmt.Sprintf("no field %q in a %s; %s", m[1], strings.ToLower(m[2]), fieldsOf(m[2]))
	}
	return line + s
}
