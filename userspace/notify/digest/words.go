package digest

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"text/template"
	"time"

	"weir/userspace/traffic"
)

// functions are those that templates may use beside Go's own.
func functions() template.FuncMap {
	return template.FuncMap{
		"rate": Rate, "amount": amount, "number": number, "duration": span, "source": source, "join": strings.Join, "upper": strings.ToUpper,
		"time":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"percent": func(share float64) string { return strconv.FormatFloat(math.Round(share*1000)/10, 'f', -1, 64) + " %" },
		"escape":  escape,
		"code":    func(s string) string { return strings.ReplaceAll(Clean(s), "`", "'") },
	}
}

// Title is the message in one line, fit for a mail's subject.
func (m Message) Title() string {
	what := "attack"
	switch s := m.Strongest(); {
	case m.Count == 1 && s.Direction == traffic.Outgoing.String():
		what = "attack from " + s.Target
	case m.Count == 1:
		what = "attack on " + s.Target
	default:
		place := ""
		switch len(m.Networks) {
		case 0:
		case 1:
			place = " of " + m.Networks[0]
		default:
			place = fmt.Sprintf(" in %d networks", len(m.Networks))
			if len(m.Networks) == MaxListed {
				place = fmt.Sprintf(" in %d or more networks", MaxListed)
			}
		}
		what = fmt.Sprintf("attacks on %d hosts%s", m.Hosts, place)
		if s.Direction == traffic.Outgoing.String() {
			what = fmt.Sprintf("attacks from %d hosts%s", m.Hosts, place)
		}
		if s.Target != "" {
			what += ", strongest " + s.Target
		}
	}
	if s := m.Strongest(); s.Class != "" {
		what += ": " + s.Class
	}
	what += ", " + Rate(m.Peak)
	if m.Event == Started {
		return strings.ToUpper(what[:1]) + what[1:]
	}
	return strings.ToUpper(m.Event.String()[:1]) + m.Event.String()[1:] + ": " + what
}

// Rate writes counts per second as "1.2 Mpps, 9.6 Gbit/s".
func Rate(c traffic.Counts) string {
	return number(c.Total.Packets) + "pps, " + number(c.Total.Bytes*8) + "bit/s"
}

func amount(c traffic.Count) string {
	return strings.TrimRight(number(c.Packets), " ") + " packets, " + number(c.Bytes) + "B"
}

// number writes a value with three digits and a decimal prefix, with the space that stands before a unit: "1.23 M".
func number(v uint64) string {
	f := float64(v)
	for _, unit := range []string{"", "k", "M", "G", "T", "P"} {
		if f < 999.5 {
			digits := 0
			switch {
			case unit == "" || f >= 99.95:
			case f >= 9.995:
				digits = 1
			default:
				digits = 2
			}
			s := strconv.FormatFloat(f, 'f', digits, 64)
			if strings.Contains(s, ".") {
				s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
			}
			return s + " " + unit
		}
		f /= 1000
	}
	return strconv.FormatFloat(f, 'f', 0, 64) + " E" // at most 18
}

// span writes a time as "4m10s".
func span(d time.Duration) string {
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// source writes "203.0.113.9 12.5 % AS64500 Example (DE) host.example.net".
func source(s traffic.SourceShare) string {
	out := s.Source.String() + " " + strconv.FormatFloat(math.Round(s.Share*1000)/10, 'f', -1, 64) + " %"
	if s.AS != 0 {
		out += " AS" + strconv.FormatUint(uint64(s.AS), 10)
	}
	if s.ASName != "" {
		out += " " + s.ASName
	}
	if s.Country != "" {
		out += " (" + s.Country + ")"
	}
	if s.Name != "" {
		out += " " + s.Name
	}
	return strings.Join(strings.Fields(out), " ") // names come from outside: none may begin a line of its own
}

// escape makes Markdown show a text as it is.
func escape(s string) string {
	var b strings.Builder
	for _, r := range Clean(s) {
		if strings.ContainsRune("\\`*_[]<>#|~", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// fieldsOf names the fields of a type that templates meet.
func fieldsOf(name string) string {
	for _, v := range []any{Message{}, Attack{}, Sample{}, traffic.SourceShare{}, traffic.Counts{}, traffic.Count{}} {
		t := reflect.TypeOf(v)
		if t.Name() != name {
			continue
		}
		var names []string
		for i := range t.NumField() {
			names = append(names, t.Field(i).Name)
		}
		for i := range t.NumMethod() {
			names = append(names, t.Method(i).Name)
		}
		return "it has " + strings.Join(names, ", ")
	}
	return "see docs/EXPORT.md"
}
