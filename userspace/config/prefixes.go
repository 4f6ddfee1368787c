package config

import (
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// placed is a prefix and where it is written.
type placed struct {
	prefix netip.Prefix
	at     place
}

// prefixes appends the prefixes of a YAML list to dst.
func (d *decoder) prefixes(dst *[]placed) decodeFunc {
	return func(at string, n *yaml.Node) {
		for _, item := range d.items(at, n, "a list of networks") {
			text, ok := d.text(at, item, "a network such as 192.0.2.0/24 or 2001:db8::/32")
			if !ok {
				continue
			}
			prefix, err := ParsePrefix(text)
			if err != nil {
				d.errorf(item, "%q: %s", at, err)
				continue
			}
			*dst = append(*dst, placed{prefix, d.placeOf(item)})
		}
	}
}

// files appends the prefixes of all list files that a YAML list names to dst.
func (d *decoder) files(dst *[]placed) decodeFunc {
	return func(at string, n *yaml.Node) {
		for _, item := range d.items(at, n, "a list of paths") {
			var path string
			d.path(&path, false)(at, item)
			if path != "" {
				*dst = append(*dst, d.listFile(at, item, path)...)
			}
		}
	}
}

// listFile reads a list file once, however often it is named.
func (d *decoder) listFile(at string, n *yaml.Node, path string) []placed {
	if list, ok := d.lists[path]; ok {
		return list
	}
	if d.readFile == nil {
		d.errorf(n, "%q: cannot read list file %s: no files here", at, path)
		return nil
	}
	data, err := d.readFile(path)
	if err != nil {
		d.errorf(n, "%q: cannot read list file %s: %s", at, path, cause(err))
		return nil
	}
	list, errs := parseList(path, string(data))
	d.errs = append(d.errs, errs...)
	d.lists[path] = list
	if len(list) == 0 && len(errs) == 0 {
		d.warnf(d.placeOf(n), "%q: list file %s holds no network", at, path)
	}
	return list
}

// parseList reads a list file: one network in CIDR notation, or one address, per line; the rest of a line behind # is a comment.
func parseList(name, text string) (list []placed, errs Errors) {
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\uFEFF")) {
		number++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		at := place{name, number, column(line, strings.Index(line, words[0]))}
		if len(words) > 1 {
			behind := strings.Index(line, words[0]) + len(words[0])
			at.column = column(line, behind+strings.Index(line[behind:], words[1]))
			errs = append(errs, Error{at.file, at.line, at.column, "unexpected text behind " + words[0] + "; expected one network per line"})
			continue
		}
		prefix, err := ParsePrefix(words[0])
		if err != nil {
			errs = append(errs, Error{at.file, at.line, at.column, err.Error()})
			continue
		}
		list = append(list, placed{prefix, at})
	}
	return list, errs
}

// column counts characters, from 1, up to a byte offset.
func column(line string, offset int) int { return utf8.RuneCountInString(line[:offset]) + 1 }

// distinct sorts prefixes and drops their places and duplicates: the same network in a list file and in the main file is no mistake.
func distinct(list []placed) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, p := range list {
		prefixes = append(prefixes, p.prefix)
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	return slices.Compact(prefixes)
}
