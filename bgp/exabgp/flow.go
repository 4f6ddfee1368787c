package exabgp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"weir/userspace/traffic"
)

// flow writes a rule as ExaBGP's configuration has it, in one line.
func (o *Options) flow(a traffic.Announcement) (key, announce, withdraw string, err error) {
	if err := a.Rule.Validate(); err != nil {
		return "", "", "", err
	}
	if a.LocalPref != nil || a.MED != nil || a.Prepend != 0 {
		return "", "", "", errors.New("ExaBGP's flow routes have no LOCAL_PREF, MED or AS path of their own")
	}
	match, err := matching(a.Rule)
	if err != nil {
		return "", "", "", err
	}
	then, err := actions(a)
	if err != nil {
		return "", "", "", err
	}
	command := "flow route { match {" + match + " } then {" + then + " } }"
	return "flow" + match, command, command, nil
}

// matching writes the conditions, each as " NAME VALUE;".
func matching(r *traffic.Rule) (string, error) {
	v6 := r.Family() == 6
	switch {
	case len(r.Payload) > 0:
		return "", errors.New("FlowSpec cannot match payload")
	case r.Family() == 0:
		return "", errors.New("FlowSpec rules are for one IP version, and nothing in this one says which")
	case v6 && !r.Destination.IsValid() && !r.Source.IsValid():
		return "", errors.New("ExaBGP takes a rule without a prefix for one of IPv4")
	case r.DestinationOffset != 0 || r.SourceOffset != 0:
		return "", errors.New("ExaBGP cannot encode prefixes with an offset (RFC 8956 section 3.1)")
	}
	var b strings.Builder
	b.WriteString(prefix("destination", r.Destination))
	b.WriteString(prefix("source", r.Source))
	parts := map[uint8]string{}
	r.EachTerms(func(c traffic.Condition, t traffic.Terms, _ uint32) {
		parts[c.Type] = " " + word(c.Name, v6) + " [ " + terms(t) + " ];"
	})
	r.EachMasks(func(c traffic.Condition, m traffic.Masks, _ uint16) {
		parts[c.Type] = " " + word(c.Name, v6) + " [ " + masks(m) + " ];"
	})
	for component := range uint8(componentTypes) {
		b.WriteString(parts[component])
	}
	return b.String(), nil
}

// componentTypes is how many FlowSpec component types there are, counted from 0, which is none.
const componentTypes = 14

func prefix(name string, p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return ""
	case p.Addr().Is6():
		return fmt.Sprintf(" %s %s/0;", name, p) // the offset
	}
	return fmt.Sprintf(" %s %s;", name, p)
}

// word is what ExaBGP calls a condition. It has names of its own for the two whose meaning RFC 8956 redefines.
func word(name string, v6 bool) string {
	switch {
	case name == "length":
		return "packet-length"
	case name == "protocol" && v6:
		return "next-header"
	case name == "dscp" && v6:
		return "traffic-class"
	}
	return name
}

// terms joins by "&" what must hold together and by a space what may hold instead.
func terms(all traffic.Terms) string {
	var b strings.Builder
	for i, t := range all {
		b.WriteString(joint(i, t.And))
		switch t.Op { // ExaBGP has no value to compare with in those that look at none
		case traffic.True:
			b.WriteString(">=0")
		case traffic.False:
			b.WriteString("<0")
		default:
			fmt.Fprintf(&b, "%s%d", comparison(t.Op), t.Value)
		}
	}
	return b.String()
}

func joint(i int, and bool) string {
	switch {
	case i == 0:
		return ""
	case and:
		return "&"
	}
	return " "
}

func comparison(op traffic.Operator) string {
	switch op {
	case traffic.Greater:
		return ">"
	case traffic.GreaterOrEqual:
		return ">="
	case traffic.Less:
		return "<"
	case traffic.LessOrEqual:
		return "<="
	case traffic.NotEqual:
		return "!="
	}
	return "="
}

// masks writes bits as numbers: "=" before those of which all must be set, "!" for the opposite.
func masks(all traffic.Masks) string {
	var b strings.Builder
	for i, m := range all {
		b.WriteString(joint(i, m.And))
		if m.Not {
			b.WriteString("!")
		}
		if !m.Any {
			b.WriteString("=")
		}
		fmt.Fprintf(&b, "%d", m.Bits)
	}
	return b.String()
}
