package config

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// document parses data as one YAML document and returns its root, a null for an empty file. It is false when an error was reported.
func (d *decoder) document(data []byte) (*yaml.Node, bool) {
	if at, ok := firstNonText(data); ok {
		d.errorAt(place{d.name, at.line, at.column}, "not text in UTF-8; expected a YAML file")
		return nil, false
	}
	stream := yaml.NewDecoder(bytes.NewReader(data))
	var document, next yaml.Node
	switch err := stream.Decode(&document); {
	case errors.Is(err, io.EOF):
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: nullTag, Line: 1, Column: 1}, true
	case err != nil:
		d.syntaxError(data, err)
		return nil, false
	}
	switch err := stream.Decode(&next); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.syntaxError(data, err)
		return nil, false
	default:
		d.errorf(&next, "a second YAML document begins here; expected one document in the file")
		return nil, false
	}
	root := document.Content[0]
	return root, d.plain(root)
}

// plain reports what YAML allows and a configuration does without: aliases, which could make a small file huge, and tags, which would be ignored.
func (d *decoder) plain(n *yaml.Node) bool {
	ok := true
	switch {
	case n.Kind == yaml.AliasNode:
		d.errorf(n, "alias *%s is not supported; write the value out (hostgroups inherit from default)", n.Value)
		ok = false
	case n.Style&yaml.TaggedStyle != 0:
		d.errorf(n, "tag %s is not supported; leave it out", n.Tag)
		ok = false
	}
	for _, child := range n.Content {
		ok = d.plain(child) && ok
	}
	return ok
}

// syntaxError reports what the YAML parser says. It names no column, so that is where the line's text begins.
func (d *decoder) syntaxError(data []byte, err error) {
	message, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		if number, text, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(number); err == nil {
				line, message = n, text
			}
		}
		if countsFromZero(message) {
			line++
		}
	}
	lines := strings.Split(string(data), "\n")
	line = min(line, len(lines))
	text := lines[line-1]
	indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
	at := place{d.name, line, 1}
	if strings.TrimSpace(text) != "" {
		at.column = len(indent) + 1
	}
	if anchor, ok := strings.CutPrefix(message, "unknown anchor '"); ok { // reported without a line
		anchor, _, _ = strings.Cut(anchor, "'")
		for i, l := range lines {
			if offset := strings.Index(l, "*"+anchor); offset >= 0 {
				at.line, at.column = i+1, column(l, offset)
				break
			}
		}
	}
	if tab := strings.IndexByte(indent, '\t'); tab >= 0 {
		at.column, message = tab+1, "a tab in the indentation; use spaces"
	}
	d.errorAt(at, "not YAML: "+message)
}

// countsFromZero recognises the messages whose line the YAML library counts from 0: those of its parser (parserc.go), unlike those of its scanner.
func countsFromZero(message string) bool {
	for _, text := range []string{
		"did not find expected <", "did not find expected node content", "did not find expected '-' indicator", "did not find expected key",
		"did not find expected ',' or", "found duplicate %", "found incompatible YAML document", "found undefined tag handle",
	} {
		if strings.HasPrefix(message, text) {
			return true
		}
	}
	return false
}

// firstNonText finds the first character that is no text: broken UTF-8 or a control character that YAML forbids.
func firstNonText(data []byte) (at place, found bool) {
	at = place{line: 1, column: 1}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == '\n':
			at.line, at.column = at.line+1, 0
		case r == utf8.RuneError && size == 1, r < ' ' && r != '\t' && r != '\r', unicode.IsControl(r) && r > '~' && r != '\u0085', r == '\uFFFE', r == '\uFFFF':
			return at, true
		}
		at.column++
		data = data[size:]
	}
	return at, false
}
