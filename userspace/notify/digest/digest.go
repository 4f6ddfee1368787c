// Package digest turns the steps of attacks' lives into as few messages as people can use.
//
// One attack gives one message when it starts (as soon as something is done about it, or after Options.Wait), one for each change of the response, and one
// at its end. Attacks that come together give one message: "254 hosts of 192.0.2.0/24", and those that follow in the same place join it. Messages beyond
// Options.Messages in Options.Interval wait, and are summed up when there is room again. Memory is bounded: so many attacks are followed one by one, and
// the rest are counted.
//
// The package is pure: time is passed in. Whoever sends messages calls Add with changes, Messages for what is to be sent, and again at Due.
package digest

import (
	"fmt"
	"time"

	"weir/userspace/traffic"
)

// What an Options' zero fields stand for.
const (
	DefaultWait       = 5 * time.Second
	DefaultGather     = time.Second
	DefaultTogether   = 4
	DefaultUpdate     = time.Minute
	DefaultMessages   = 20
	DefaultInterval   = 10 * time.Minute
	DefaultMaxAttacks = 4096
)

// Options says when messages are due.
type Options struct {
	Wait       time.Duration // the first message about an attack comes at the latest so long after it was detected
	Gather     time.Duration // what is done about an attack is told so long after it began, together with others
	Together   int           // from so many attacks waiting, those of one network (IPv4 /24, IPv6 /48) are told in one message
	Update     time.Duration // attacks that join those told in one message are summed up so often
	Messages   int           // at most so many messages ...
	Interval   time.Duration // ... in so long
	MaxAttacks int           // followed one by one
}

func (o *Options) fill() error {
	for _, d := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{{"wait", &o.Wait, DefaultWait}, {"gather", &o.Gather, DefaultGather}, {"update", &o.Update, DefaultUpdate}, {"interval", &o.Interval, DefaultInterval}} {
		if *d.value < 0 {
			return fmt.Errorf("use digest %s %s: it is negative; give a time such as 5s", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	for _, n := range []struct {
		name            string
		value           *int
		standard, least int
	}{{"together", &o.Together, DefaultTogether, 2}, {"messages", &o.Messages, DefaultMessages, 1}, {"attacks", &o.MaxAttacks, DefaultMaxAttacks, 1}} {
		if *n.value == 0 {
			*n.value = n.standard
		}
		if *n.value < n.least {
			return fmt.Errorf("use digest %s %d: it is less than %d; give more", n.name, *n.value, n.least)
		}
	}
	return nil
}

// Digest gathers changes into messages. It is for one goroutine.
type Digest struct {
	options   Options
	attacks   map[string]*attack
	waiting   map[string]*attack // those of attacks without an incident
	incidents map[string]*incident
	past      [2]map[string]struct{} // attacks that were told of to their end: lately, and before
	sent      []time.Time            // of messages within the last Options.Interval, oldest first
	omitted   int
}

// New returns a Digest that knows of no attack.
func New(o Options) (*Digest, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	return &Digest{options: o, attacks: map[string]*attack{}, waiting: map[string]*attack{}, incidents: map[string]*incident{},
		past: [2]map[string]struct{}{{}, {}}}, nil
}

// Add takes in changes, in their order. Changes that it was given before are ignored, so that whoever could not send may give them again.
func (d *Digest) Add(now time.Time, changes []traffic.Change) {
	for i := range changes {
		d.add(now, &changes[i])
	}
}

func (d *Digest) add(now time.Time, c *traffic.Change) {
	a := d.attacks[c.Record.Attack.ID]
	if a == nil {
		if a = d.follow(now, c); a == nil {
			return
		}
	}
	if !a.news(c) {
		return
	}
	a.learn(c)
	soon := now.Add(d.options.Gather)
	switch c.Kind {
	case traffic.ChangeBanned:
		if a.banned {
			a.touch(soon) // once more
		}
		a.banned = true
	case traffic.ChangeEscalated, traffic.ChangeUnbanned:
		a.touch(soon)
	case traffic.ChangeEnded:
		a.over = true
		if a.incident != nil && !a.incident.grouped {
			a.touch(soon)
		}
	}
	if a.incident == nil {
		if (a.banned || a.over) && soon.Before(a.due) {
			a.due = soon
		}
		return
	}
	a.incident.settle(a, c.At, soon)
	if a.over {
		d.forget(a)
	}
}

// follow starts to follow the attack of a change; nil if it is none to follow.
func (d *Digest) follow(now time.Time, c *traffic.Change) *attack {
	id := c.Record.Attack.ID
	for _, past := range d.past {
		if _, told := past[id]; told {
			return nil
		}
	}
	// An unknown attack's ban that is lifted, and its details, are no news to people who were told its end, or nothing.
	if c.Kind == traffic.ChangeUnbanned || c.Kind == traffic.ChangeDetails || c.Kind == traffic.ChangeDescribed {
		return nil
	}
	if len(d.attacks) >= d.options.MaxAttacks {
		if c.Kind == traffic.ChangeStarted {
			d.omitted++
		}
		return nil
	}
	a := &attack{due: now.Add(d.options.Wait), first: Sample{Time: c.At, Packets: directed(&c.Record.Attack).Total.Packets, Bytes: directed(&c.Record.Attack).Total.Bytes}}
	d.attacks[id], d.waiting[id] = a, a
	return a
}

// forget stops following an attack that is over and told, or counted in what will be.
func (d *Digest) forget(a *attack) {
	id := a.record.Attack.ID
	delete(d.attacks, id)
	if len(d.past[0]) >= d.options.MaxAttacks {
		d.past[0], d.past[1] = map[string]struct{}{}, d.past[0]
	}
	d.past[0][id] = struct{}{}
}

// Due is when Messages has something to give, if no changes come before: zero: never.
func (d *Digest) Due() time.Time {
	var due time.Time
	earliest := func(t time.Time) {
		if !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	for _, a := range d.waiting {
		earliest(a.due)
	}
	for _, in := range d.incidents {
		earliest(in.due)
	}
	if free := d.free(); !due.IsZero() && due.Before(free) {
		return free
	}
	return due
}

// free is when a message may be sent by the rate limit; zero: now.
func (d *Digest) free() time.Time {
	if len(d.sent) < d.options.Messages {
		return time.Time{}
	}
	return d.sent[len(d.sent)-d.options.Messages].Add(d.options.Interval)
}

// left is how many messages may be sent now.
func (d *Digest) left(now time.Time) int {
	for len(d.sent) > 0 && !now.Before(d.sent[0].Add(d.options.Interval)) {
		d.sent = d.sent[1:]
	}
	return d.options.Messages - len(d.sent)
}
