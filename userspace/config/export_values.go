package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxText is how long a text of a configuration may be, templates among them.
const maxText = 64 << 10

// words decodes a text: a name, a password, a template. Empty is none.
func (d *decoder) words(dst *string) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "a text of at most 64 KiB, without a zero byte"
		if isNull(n) {
			*dst = ""
			return
		}
		text, ok := d.text(at, n, what)
		switch {
		case !ok:
		case len(text) > maxText || strings.Contains(text, "\x00"):
			d.expected(at, n, what)
		default:
			*dst = text
		}
	}
}

// list decodes a list of texts, none of them empty.
func (d *decoder) list(dst *[]string, what string) decodeFunc {
	return func(at string, n *yaml.Node) {
		*dst = nil
		for _, item := range d.items(at, n, "a list of "+what) {
			text, ok := d.text(at, item, what)
			switch {
			case !ok:
			case text == "" || len(text) > maxText:
				d.expected(at, item, what)
			default:
				*dst = append(*dst, text)
			}
		}
	}
}

// servers decodes a list of addresses with ports.
func (d *decoder) servers(dst *[]string) decodeFunc {
	return func(at string, n *yaml.Node) {
		var all []string
		for _, item := range d.items(at, n, "a list of host:port") {
			one := ""
			d.serverAddress(&one)(at, item)
			if one != "" {
				all = append(all, one)
			}
		}
		if len(all) == 0 && n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			d.expected(at, n, "at least one host:port")
		}
		*dst = all
	}
}

// tls decodes how a server is spoken to. The section by itself turns it on.
func (d *decoder) tls(dst *TLS) decodeFunc {
	return func(at string, n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			d.bool(&dst.On)(at, n)
			return
		}
		dst.On = true
		d.mapping(at, n,
			field{"ca", d.path(&dst.CA, true)},
			field{"cert", d.path(&dst.Cert, true)},
			field{"key", d.path(&dst.Key, true)},
			field{"server_name", d.words(&dst.ServerName)},
			field{"insecure", d.bool(&dst.Insecure)},
		)
		if (dst.Cert == "") != (dst.Key == "") {
			d.errorf(n, `%q: "cert" and "key" go together; expected both or none`, at)
		}
	}
}

// each decodes a list of sections.
func each[T any](d *decoder, dst *[]T, what string, decode func(*T) decodeFunc) decodeFunc {
	return func(at string, n *yaml.Node) {
		*dst = nil
		for i, item := range d.items(at, n, "a list of "+what) {
			var one T
			decode(&one)(fmt.Sprintf("%s[%d]", at, i), item)
			*dst = append(*dst, one)
		}
	}
}

// pairs decodes a mapping of texts.
func (d *decoder) pairs(dst *map[string]string) decodeFunc {
	return func(at string, n *yaml.Node) {
		all := map[string]string{}
		for _, e := range d.entries(at, n) {
			value := ""
			d.words(&value)(join(at, e.key.Value), e.value)
			all[e.key.Value] = value
		}
		*dst = all
	}
}
