package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxInterfaceName is the longest name of a network interface (IFNAMSIZ of linux/if.h, with a final zero).
const maxInterfaceName = 15

// iface is an interface and where its parts are written; nil: not written.
type iface struct {
	Interface
	item, name, engine, role, mode, pair, egress, options *yaml.Node
}

// interfaces decodes the list of interfaces and holds each against the others.
func (d *decoder) interfaces(c *Config, at string, n *yaml.Node) {
	var all []*iface
	byName := make(map[string]*iface)
	for _, item := range d.items(at, n, "a list of interfaces") {
		one := &iface{Interface: Interface{Engine: EngineXDP, Mode: ModeAuto, Role: RoleHost}, item: item}
		before := len(d.errs)
		noting := func(dst **yaml.Node, decode decodeFunc) decodeFunc {
			return func(at string, n *yaml.Node) { *dst = n; decode(at, n) }
		}
		d.mapping(at, item,
			field{"name", func(_ string, n *yaml.Node) { one.name = n }}, // read below: the engine says what a name is
			field{"engine", noting(&one.engine, choice(d, &one.Engine, words(engines()), engines()))},
			field{"role", noting(&one.role, choice(d, &one.Role, []string{"host", "wire", "mirror"}, []Role{RoleHost, RoleWire, RoleMirror}))},
			field{"mode", noting(&one.mode, choice(d, &one.Mode, []string{"auto", "native", "generic"}, []Mode{ModeAuto, ModeNative, ModeGeneric}))},
			field{"pair", d.interfaceName(&one.Pair, &one.pair)},
			field{"egress", noting(&one.egress, d.bool(&one.Egress))},
			field{"options", func(_ string, n *yaml.Node) { one.options = n }},
		)
		if one.name != nil {
			d.engineName(one.Engine, &one.Name, &one.name)(join(at, "name"), one.name)
		}
		if len(d.errs) == before && one.Name != "" {
			d.interfaceEngine(one, at)
		}
		switch first := byName[one.Name]; {
		case len(d.errs) > before:
		case one.Name == "":
			d.errorf(item, `an interface without "name"`)
		case first != nil:
			d.errorf(one.name, "interface %q is listed twice; the first is at %s", one.Name, d.placeOf(first.name))
		default:
			byName[one.Name] = one
			all = append(all, one)
		}
	}
	complete := len(all) == len(n.Content) // else a pair may be missing only because its entry is broken
	for _, one := range all {
		d.interfaceRole(one, byName, complete)
		c.Interfaces = append(c.Interfaces, one.Interface)
	}
}

func (d *decoder) interfaceName(dst *string, node **yaml.Node) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "the name of a network interface"
		*node = n
		text, ok := d.text(at, n, what)
		switch {
		case !ok:
		case text == "", text == ".", text == "..", len(text) > maxInterfaceName, strings.ContainsAny(text, "/: \t\r\n\x00"):
			d.expected(at, n, what)
		default:
			*dst = text
		}
	}
}

// interfaceRole checks what an interface's role demands and forbids.
func (d *decoder) interfaceRole(one *iface, byName map[string]*iface, complete bool) {
	if one.Egress && one.Role != RoleHost {
		d.errorf(one.egress, `"egress" is for role host only: the role of %q is %s`, one.Name, one.Role)
	}
	if one.Role != RoleWire {
		if one.pair != nil {
			d.errorf(one.pair, `"pair" is for role wire only: the role of %q is %s`, one.Name, one.Role)
		}
		return
	}
	other := byName[one.Pair]
	switch {
	case one.pair == nil:
		d.errorf(one.item, `interface %q has role wire but no "pair"; expected the interface that its packets leave by`, one.Name)
	case one.Pair == one.Name:
		d.errorf(one.pair, "interface %q is paired with itself", one.Name)
	case other == nil:
		if complete {
			d.errorf(one.pair, `interface %q is paired with %q, which is not in "interfaces"`, one.Name, one.Pair)
		}
	case other.Role != RoleWire:
		d.errorf(one.pair, "interface %q is paired with %q, whose role is %s; expected wire", one.Name, one.Pair, other.Role)
	case other.pair != nil && other.Pair != one.Name:
		d.errorf(one.pair, "interface %q is paired with %q, which is paired with %q; expected a pair that names each other", one.Name, one.Pair, other.Pair)
	}
}
