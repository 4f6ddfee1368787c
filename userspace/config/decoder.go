package config

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder walks the YAML tree and collects everything that is wrong with it.
type decoder struct {
	name     string // the main file, as the operator named it
	readFile func(string) ([]byte, error)
	stat     func(string) (fs.FileInfo, error) // nil: files are not looked at
	lists    map[string][]placed               // list files read so far, by path
	actions  []string                          // names of bgp.actions
	sinks    map[string]Error                  // sections of those who are told, by path

	errs, warnings Errors
}

// decodeFunc decodes the value of the key whose path is at, such as "hostgroups.default.window".
type decodeFunc func(at string, n *yaml.Node)

// field is a key of a mapping and what decodes its value.
type field struct {
	key    string
	decode decodeFunc
}

func (d *decoder) placeOf(n *yaml.Node) place { return place{d.name, n.Line, n.Column} }

func (d *decoder) errorAt(p place, message string) {
	d.errs = append(d.errs, Error{p.file, p.line, p.column, message})
}

func (d *decoder) errorf(n *yaml.Node, format string, args ...any) {
	d.errorAt(d.placeOf(n), fmt.Sprintf(format, args...))
}

func (d *decoder) warnf(p place, format string, args ...any) {
	d.warnings = append(d.warnings, Error{p.file, p.line, p.column, fmt.Sprintf(format, args...)})
}

// expected reports a value that is not what it should be.
func (d *decoder) expected(at string, n *yaml.Node, what string) {
	d.errorf(n, "%q: expected %s, got %s", at, what, describe(n))
}

// describe names a value in an error.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		return "an empty list"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	}
	const longest = 60
	if runes := []rune(n.Value); len(runes) > longest {
		return strconv.Quote(string(runes[:longest])) + "..."
	}
	return strconv.Quote(n.Value)
}

// isNull recognises a key without a value, as it is left behind when all that stood under it is commented out.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == nullTag }

const nullTag = "!!null"

// entry is one key of a mapping and its value.
type entry struct{ key, value *yaml.Node }

// entries returns the entries of a mapping without the duplicates, which it reports. A mapping without a value has none.
func (d *decoder) entries(at string, n *yaml.Node) []entry {
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		if at == "" {
			d.errorf(n, "expected a mapping at the top level, got %s", describe(n))
		} else {
			d.expected(at, n, "a mapping")
		}
		return nil
	}
	var all []entry
	first := make(map[string]*yaml.Node)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch before := first[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.errorf(key, "expected a key %s, got %s", where(at), describe(key))
		case before != nil:
			d.errorf(key, "duplicate key %q %s; it is first set at %s", key.Value, where(at), d.placeOf(before))
		default:
			first[key.Value] = key
			all = append(all, entry{key, n.Content[i+1]})
		}
	}
	return all
}

// where names a mapping in an error.
func where(at string) string {
	if at == "" {
		return "at the top level"
	}
	return fmt.Sprintf("in %q", at)
}

// join makes the path of a key.
func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

// mapping decodes a mapping whose keys are fields, in the order of fields whatever the file's, and reports all other keys.
func (d *decoder) mapping(at string, n *yaml.Node, fields ...field) {
	values := make(map[string]*yaml.Node)
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.key
		values[f.key] = nil
	}
	for _, e := range d.entries(at, n) {
		if _, ok := values[e.key.Value]; !ok {
			d.errorf(e.key, "unexpected key %q %s; expected one of %s", e.key.Value, where(at), strings.Join(names, ", "))
			continue
		}
		values[e.key.Value] = e.value
	}
	for _, f := range fields {
		if value := values[f.key]; value != nil {
			f.decode(join(at, f.key), value)
		}
	}
}

// section is mapping as a decodeFunc.
func (d *decoder) section(fields ...field) decodeFunc {
	return func(at string, n *yaml.Node) { d.mapping(at, n, fields...) }
}

// items returns the items of a list; a list without a value has none.
func (d *decoder) items(at string, n *yaml.Node, what string) []*yaml.Node {
	switch {
	case isNull(n):
		return nil
	case n.Kind != yaml.SequenceNode:
		d.expected(at, n, what)
		return nil
	}
	return n.Content
}

// text returns the value of a scalar; a key without a value is an error.
func (d *decoder) text(at string, n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		d.expected(at, n, what)
		return "", false
	}
	return n.Value, true
}

func (d *decoder) duration(dst *time.Duration, least, most time.Duration) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "a duration such as 500ms, 5s, 30m, 2h or 7d"
		text, ok := d.text(at, n, what)
		if !ok {
			return
		}
		switch value, ok := parseDuration(text); {
		case !ok:
			d.expected(at, n, what)
		case value < least || value > most:
			d.expected(at, n, fmt.Sprintf("a duration from %s to %s", formatDuration(least), formatDuration(most)))
		default:
			*dst = value
		}
	}
}

func (d *decoder) count(dst *int, least, most int) decodeFunc {
	return func(at string, n *yaml.Node) {
		what := fmt.Sprintf("a whole number from %d to %d", least, most)
		if text, ok := d.text(at, n, what); ok {
			if value, ok := parseCount(text); ok && value >= least && value <= most {
				*dst = value
				return
			}
			d.expected(at, n, what)
		}
	}
}

// countOrOff is count with 0 and "off" for none.
func (d *decoder) countOrOff(dst *int, most int) decodeFunc { return d.countOr("off", dst, most) }

// countOr is count with 0 and a word for it.
func (d *decoder) countOr(word string, dst *int, most int) decodeFunc {
	return func(at string, n *yaml.Node) {
		what := fmt.Sprintf("a whole number from 1 to %d, or %s", most, word)
		if text, ok := d.text(at, n, what); ok {
			value, ok := parseCount(text)
			switch {
			case text == word:
				*dst = 0
			case ok && value <= most:
				*dst = value
			default:
				d.expected(at, n, what)
			}
		}
	}
}

func (d *decoder) size(dst *int64, least, most int64) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "a size such as 512MB or 2GiB"
		text, ok := d.text(at, n, what)
		if !ok {
			return
		}
		switch value, ok := parseSize(text); {
		case !ok:
			d.expected(at, n, what)
		case value < least || value > most:
			d.expected(at, n, fmt.Sprintf("a size from %dMB to %dGB", least/1e6, most/1e9))
		default:
			*dst = value
		}
	}
}

func (d *decoder) bool(dst *bool) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "true or false"
		if text, ok := d.text(at, n, what); ok {
			if value, ok := parseBool(text); ok {
				*dst = value
				return
			}
			d.expected(at, n, what)
		}
	}
}

// path decodes a path; a relative one starts from the folder of the main file. Empty is kept where it is allowed.
func (d *decoder) path(dst *string, emptyAllowed bool) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "a path"
		text, ok := d.text(at, n, what)
		switch {
		case !ok:
		case text == "" && !emptyAllowed, strings.ContainsRune(text, 0):
			d.expected(at, n, what)
		case text == "":
			*dst = ""
		default:
			*dst = d.resolve(text)
		}
	}
}

func (d *decoder) resolve(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(filepath.Dir(d.name), path)
}

// choice decodes one word of several into a value of its type.
func choice[T any](d *decoder, dst *T, words []string, values []T) decodeFunc {
	return func(at string, n *yaml.Node) {
		what := alternatives(words)
		if text, ok := d.text(at, n, what); ok {
			for i, word := range words {
				if word == text {
					*dst = values[i]
					return
				}
			}
			d.expected(at, n, what)
		}
	}
}

// alternatives writes "a, b or c".
func alternatives(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
