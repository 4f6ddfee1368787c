package decide

import (
	"net/netip"
	"time"

	lua "github.com/yuin/gopher-lua"

	"weir/userspace/sandbox"
	"weir/userspace/traffic"
)

// shapes are what tables that are shown to hooks have in common: to read a field that they do not have is an error, since a misspelt one
// would otherwise be nil.
type shapes struct{ ofEvent, ofAttack, ofResponse *lua.LTable }

func newShapes(l *lua.LState) shapes {
	return shapes{
		ofEvent:    shape(l, "an event", nil),
		ofAttack:   shape(l, "an attack", []string{"metric", "value", "threshold", "class", "confidence", "sources"}),
		ofResponse: shape(l, "a response", []string{"ban_time", "rung", "rungs", "rules"}),
	}
}

// shape is the metatable of a kind of table. The optional fields are nil where their value is unknown.
func shape(l *lua.LState, what string, optional []string) *lua.LTable {
	known := map[lua.LValue]bool{}
	for _, name := range optional {
		known[lua.LString(name)] = true
	}
	meta := l.NewTable()
	meta.RawSetString("__index", l.NewFunction(func(l *lua.LState) int {
		if name := l.Get(2); !known[name] {
			l.RaiseError("%s has no field %q", what, lua.LVAsString(l.ToStringMeta(name)))
		}
		return 0
	}))
	meta.RawSetString("__metatable", lua.LString(what))
	return meta
}

// table is a table that is being filled.
type table struct{ *lua.LTable }

func (t table) text(name, v string)           { t.RawSetString(name, lua.LString(v)) }
func (t table) number(name string, v float64) { t.RawSetString(name, lua.LNumber(v)) }
func (t table) flag(name string, v bool)      { t.RawSetString(name, lua.LBool(v)) }

// seconds writes a time as seconds since 1970, with fractions; 0: unknown.
func (t table) seconds(name string, v time.Time) {
	if v.IsZero() {
		t.number(name, 0)
		return
	}
	t.number(name, float64(v.UnixMicro())/1e6)
}

func (t table) list(l *lua.LState, name string, texts []string) {
	list := l.CreateTable(len(texts), 0)
	for _, text := range texts {
		list.Append(lua.LString(text))
	}
	t.RawSetString(name, list)
}

func (t table) target(of *traffic.Target) {
	t.text("target", of.String())
	t.text("scope", of.Scope.String())
	t.text("direction", of.Direction.String())
	t.text("hostgroup", of.Group)
}

// trip writes value and threshold in the unit of the metric's name, as operators write them.
func (t table) trip(of *traffic.Trip) {
	t.text("metric", of.Metric.String())
	t.number("value", of.Value/of.Metric.Scale())
	t.number("threshold", of.Limit/of.Metric.Scale())
}

func newTable(l *lua.LState, fields int, meta *lua.LTable) table {
	t := l.CreateTable(0, fields)
	t.Metatable = meta
	return table{t}
}

// event is the argument of on_threshold.
func (s *shapes) event(l *lua.LState, e *traffic.Event) *lua.LTable {
	t := newTable(l, 16, s.ofEvent)
	t.target(&e.Target)
	t.trip(&e.Trip)
	t.text("why", e.Trip.String())
	t.number("window", e.Trip.Window.Seconds())
	t.number("hosts", float64(e.Hosts))
	t.seconds("started", e.Started)
	t.seconds("at", e.At)
	return t.LTable
}

// attack is the argument of on_attack, and the first of on_mitigate.
func (s *shapes) attack(l *lua.LState, a *traffic.Attack) *lua.LTable {
	t := newTable(l, 32, s.ofAttack)
	t.text("id", a.ID)
	t.target(&a.Target)
	if a.Trip.Window != 0 {
		t.trip(&a.Trip)
	}
	rate := &a.Rate.Incoming
	if a.Target.Direction == traffic.Outgoing {
		rate = &a.Rate.Outgoing
	}
	t.text("why", a.Trip.String())
	t.number("pps", float64(rate.Total.Packets))
	t.number("bps", float64(rate.Total.Bytes)*8)
	t.number("flows", float64(rate.Flows))
	t.number("peak_pps", float64(a.Peak.Total.Packets))
	t.number("peak_bps", float64(a.Peak.Total.Bytes)*8)
	t.number("hosts", float64(a.Hosts))
	t.flag("manual", a.Manual)
	t.text("phase", a.Phase.String())
	t.seconds("started", a.Started)
	t.seconds("detected", a.Detected)
	var rules []string
	if n := a.Analysis; n != nil {
		t.text("class", n.Class)
		t.number("confidence", n.Confidence)
		t.text("sources", n.Sources)
		for i := range n.Rules.Rules {
			rules = append(rules, n.Rules.Rules[i].Rule)
		}
	}
	t.list(l, "rules", rules)
	return t.LTable
}

// response is the second argument of on_mitigate.
func (s *shapes) response(l *lua.LState, b *traffic.Ban) *lua.LTable {
	t := newTable(l, 16, s.ofResponse)
	t.flag("drop", b.Drop)
	t.flag("notify", b.Notified)
	t.flag("dry_run", b.DryRun)
	t.flag("manual", b.Manual)
	t.text("does", b.Does())
	if !b.Until.IsZero() && !b.Since.IsZero() {
		t.number("ban_time", b.Until.Sub(b.Since).Seconds())
	}
	var announced []string
	if r := b.Response; r != nil {
		t.number("rung", float64(r.Rung))
		t.number("rungs", float64(r.Rungs))
		t.text("rules", r.Rules.String())
		announced = r.Announce
	}
	t.list(l, "announce", announced)
	return t.LTable
}

// hasTarget is a method of sets of networks: whether one of them covers all of an attack's or event's target. A hostgroup is in none.
func hasTarget(l *lua.LState) int {
	set := sandbox.CheckSet(l)
	t := l.CheckTable(2)
	text := lua.LVAsString(t.RawGetString("target"))
	covered := false
	if a, err := netip.ParseAddr(text); err == nil {
		covered = set.Contains(a)
	} else if p, err := netip.ParsePrefix(text); err == nil {
		covered = set.LookupPrefix(p)
	}
	l.Push(lua.LBool(covered))
	return 1
}
