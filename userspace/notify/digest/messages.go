package digest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"weir/userspace/traffic"
)

// Messages returns what is to be sent now, and holds it as sent.
func (d *Digest) Messages(now time.Time) []Message {
	d.enlist(now)
	out := d.begin(now)
	return append(out, d.proceed(now)...)
}

// enlist lets waiting attacks join groups that go on in the same place.
func (d *Digest) enlist(now time.Time) {
	groups := map[place]*incident{}
	for _, in := range d.incidents {
		if in.grouped && len(in.attacks) > 0 {
			groups[in.place] = in
		}
	}
	if len(groups) == 0 {
		return
	}
	for id, a := range d.waiting {
		where := placeOf(&a.record.Attack.Target)
		in := groups[where]
		if in == nil {
			in = groups[place{direction: where.direction}] // a group of several networks
		}
		if in == nil {
			continue
		}
		delete(d.waiting, id)
		d.join(in, a, now)
		if in.due.IsZero() {
			in.due = in.told.Add(d.options.Update)
		}
	}
}

func (d *Digest) join(in *incident, a *attack, now time.Time) {
	in.join(a, now)
	if a.over {
		d.forget(a)
	}
}

// begin tells of attacks that were not told of yet.
func (d *Digest) begin(now time.Time) []Message {
	left := d.left(now)
	due := 0
	for _, a := range d.waiting {
		if !now.Before(a.due) {
			due++
		}
	}
	if due == 0 || left <= 0 {
		return nil
	}
	if len(d.waiting) < d.options.Together && due <= left {
		var out []Message
		for _, a := range ordered(d.waiting) {
			if !now.Before(a.due) {
				out = append(out, d.start(now, placeOf(&a.record.Attack.Target), []*attack{a}))
			}
		}
		return out
	}
	// Many: also those that are not due yet are told now, or each would follow by itself a moment later.
	waiting := ordered(d.waiting)
	by := func(key func(*traffic.Target) place) map[place][]*attack {
		out := map[place][]*attack{}
		for _, a := range waiting {
			where := key(&a.record.Attack.Target)
			out[where] = append(out[where], a)
		}
		return out
	}
	byPlace := by(placeOf)
	if len(byPlace) >= d.options.Together || len(byPlace) > left {
		byPlace = by(func(t *traffic.Target) place { return place{direction: t.Direction} })
	}
	var out []Message
	places := slices.SortedFunc(maps.Keys(byPlace), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.direction, b.direction), a.network.Addr().Compare(b.network.Addr()), cmp.Compare(a.network.Bits(), b.network.Bits()))
	})
	for _, where := range places[:min(len(places), left)] {
		out = append(out, d.start(now, where, byPlace[where]))
	}
	return out
}

// start makes an incident of attacks that were waiting, and its first message.
func (d *Digest) start(now time.Time, where place, as []*attack) Message {
	in := &incident{key: as[0].record.Attack.ID, grouped: len(as) > 1, place: where, attacks: map[string]*attack{}}
	if in.grouped {
		in.key += "+" + strconv.Itoa(len(as)-1)
	}
	for _, a := range as {
		delete(d.waiting, a.record.Attack.ID)
		d.join(in, a, now)
	}
	d.incidents[in.key] = in
	return d.tell(now, in, Started)
}

// proceed tells of incidents with news.
func (d *Digest) proceed(now time.Time) []Message {
	var over, changed []*incident
	for _, in := range d.incidents {
		switch {
		case in.due.IsZero() || now.Before(in.due):
		case in.over():
			over = append(over, in)
		default:
			changed = append(changed, in)
		}
	}
	byTime := func(a, b *incident) int { return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.key, b.key)) }
	slices.SortFunc(over, byTime)
	slices.SortFunc(changed, byTime)
	var out []Message
	if left := d.left(now); left > 0 && len(over) > 0 {
		if len(over) >= d.options.Together || len(over) > left {
			out = append(out, d.tellTogether(now, over))
		} else {
			for _, in := range over {
				out = append(out, d.tell(now, in, Ended))
			}
		}
	}
	for _, in := range changed[:min(len(changed), max(d.left(now), 0))] {
		out = append(out, d.tell(now, in, Changed))
	}
	return out
}

// tell makes the incident's message, and forgets the incident if it is over.
func (d *Digest) tell(now time.Time, in *incident, event Event) Message {
	d.sent = append(d.sent, now)
	in.told, in.due = now, time.Time{}
	m := in.message(now)
	m.Event, m.Omitted = event, d.omitted
	d.omitted = 0
	if in.over() {
		m.Event, m.Closes = Ended, []string{in.key}
		d.close(in)
	}
	return m
}

func (d *Digest) close(in *incident) {
	for _, a := range in.attacks {
		d.forget(a)
	}
	delete(d.incidents, in.key)
}

// tellTogether makes one message of the ends of several incidents.
func (d *Digest) tellTogether(now time.Time, over []*incident) Message {
	all := incident{key: over[0].key, grouped: true}
	var keys []string
	for _, in := range over {
		m := in.message(now)
		all.listed = strongest(append(all.listed, m.Attacks...))
		all.closed.count += m.Count
		all.closed.hosts += m.Hosts
		all.closed.volume.Add(&m.Volume)
		all.closed.started = earliest(all.closed.started, m.Started)
		all.closed.ended = latest(all.closed.ended, m.Started.Add(m.Duration))
		for _, n := range in.networks {
			if len(all.networks) < MaxListed && !slices.Contains(all.networks, n) {
				all.networks = append(all.networks, n)
			}
		}
		raise(&all.peak, &m.Peak) // not at the same time: the strongest of them
		keys = append(keys, in.key)
		d.close(in)
	}
	m := d.tell(now, &all, Ended)
	m.Closes = keys
	return m
}

// ordered are the attacks by their start.
func ordered(attacks map[string]*attack) []*attack {
	return slices.SortedFunc(maps.Values(attacks), func(a, b *attack) int {
		return cmp.Or(a.record.Attack.Started.Compare(b.record.Attack.Started), cmp.Compare(a.record.Attack.ID, b.record.Attack.ID))
	})
}

// strongest orders attacks by their peak in packets and keeps the first.
func strongest(as []Attack) []Attack {
	slices.SortStableFunc(as, func(a, b Attack) int {
		return cmp.Or(cmp.Compare(b.Peak.Total.Packets, a.Peak.Total.Packets), cmp.Compare(a.ID, b.ID))
	})
	return as[:min(len(as), MaxListed)]
}

// message says how the incident stands.
func (in *incident) message(now time.Time) Message {
	m := Message{
		Key: in.key, At: now, Count: in.closed.count + len(in.attacks), Hosts: in.closed.hosts,
		Started: in.closed.started, Peak: in.peak, Volume: in.closed.volume, Rates: slices.Clone(in.samples.list),
	}
	m.Attacks = slices.Clone(in.listed)
	ended := in.closed.ended
	for _, a := range in.attacks {
		r := &a.record.Attack
		m.Hosts += max(r.Hosts, 1)
		m.Volume.Add(&r.Volume)
		m.Started = earliest(m.Started, r.Started)
		if a.over {
			ended = latest(ended, r.Ended)
		} else {
			m.Ongoing++
		}
		m.Attacks = append(m.Attacks, a.describe(now))
		if len(m.Attacks) >= 4*MaxListed {
			m.Attacks = strongest(m.Attacks)
		}
		if !in.grouped {
			raise(&m.Peak, &r.Peak)
		}
	}
	m.Attacks = strongest(m.Attacks)
	if m.Ongoing > 0 || ended.IsZero() {
		ended = now
	}
	m.Duration = max(ended.Sub(m.Started), 0)
	for _, n := range in.networks {
		m.Networks = append(m.Networks, n.String())
	}
	return m
}

// describe writes the attack out for people.
func (a *attack) describe(now time.Time) Attack {
	r := &a.record.Attack
	out := Attack{
		ID: r.ID, Target: r.Target.String(), Scope: r.Target.Scope.String(), Direction: r.Target.Direction.String(), Group: a.group,
		Hosts: max(r.Hosts, 1), Started: r.Started, Ended: r.Ended, Rate: *directed(r), Peak: r.Peak, Volume: r.Volume,
		Trip: r.Trip.String(), Top: slices.Clone(a.sources), Response: response(&a.record), Steps: steps(&a.record.Ban), Until: a.record.Ban.Until, Capture: a.capture,
	}
	if out.Group == "" {
		out.Group = r.Target.Group
	}
	if r.Ended.IsZero() {
		out.Duration = max(now.Sub(r.Started), 0)
	} else {
		out.Duration = max(r.Ended.Sub(r.Started), 0)
	}
	if n := r.Analysis; n != nil {
		out.Class, out.Confidence, out.Origin = n.Class, n.Confidence, n.Sources
		out.Patterns, out.Evidence = slices.Clone(n.Patterns), slices.Clone(n.Evidence)
		for _, rule := range n.Rules.Rules[:min(len(n.Rules.Rules), MaxListed)] {
			out.Rules = append(out.Rules, rule.Rule+" ("+rule.Text+")")
		}
	}
	return out
}

// response says what is done about an attack, in words.
func response(r *traffic.Record) string {
	b := &r.Ban
	does := b.Does()
	if b.Response != nil {
		does = fmt.Sprintf("%s (step %d of %d)", does, b.Response.Rung, b.Response.Rungs)
	}
	switch {
	case b.Active() && b.DryRun:
		return "dry run, nothing is done: " + does
	case b.Active() && b.Manual:
		return does + ", by hand: " + cmp.Or(b.Reason, "no reason given")
	case b.Active():
		return does
	case r.Held != "":
		return "nothing is done: " + r.Held
	case !b.Lifted.IsZero():
		return "lifted: " + does
	}
	return "nothing is done"
}

// steps are the last steps on the hostgroup's ladder, with why each was taken.
func steps(b *traffic.Ban) []string {
	if b.Response == nil {
		return nil
	}
	var out []string
	h := b.Response.History
	for _, c := range h[max(len(h)-MaxListed, 0):] {
		out = append(out, fmt.Sprintf("%s step %d: %s", c.At.UTC().Format(time.RFC3339), c.Rung, c.Why))
	}
	return out
}
