package recorder

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// capture is an attack that is on, and its files.
type capture struct {
	record  traffic.Record
	since   time.Time // frames from then on are its
	waiting bool      // for its turn to be written, or it has none: its frames are in the ring at most
	news    string    // for the frame that comes next
	failed  bool      // in this tick a file could not be made or written, and is not tried again
	files   map[traffic.Link]*file
	seen    uint64
	written uint64
}

func (c *capture) over() bool { return c.record.Attack.Phase == traffic.PhaseOver }

// wants reports whether a frame of the target's traffic is of the attack: from some time before it began until it ended.
func (c *capture) wants(f *Frame) bool {
	ended := c.record.Attack.Ended
	return !f.Time.Before(c.since) && (ended.IsZero() || !f.Time.After(ended))
}

// sorted are the attacks in the order in which they began.
func sorted(attacks map[string]*capture) []*capture {
	out := make([]*capture, 0, len(attacks))
	for _, id := range slices.Sorted(maps.Keys(attacks)) {
		out = append(out, attacks[id])
	}
	return out
}

// take takes in what has become known of attacks.
func (k *Keeper) take(records map[string]traffic.Record) {
	for _, id := range slices.Sorted(maps.Keys(records)) {
		r := records[id]
		if c := k.attacks[id]; c != nil {
			c.news = join(c.news, news(&c.record, &r))
			c.record = r
			continue
		}
		if len(k.attacks) >= k.options.Queue {
			k.counters.refused.Add(1)
			continue
		}
		since := r.Attack.Started
		if since.IsZero() {
			since = k.now
		}
		k.attacks[id] = &capture{
			record: r, since: since.Add(-k.options.Before), waiting: true, files: map[traffic.Link]*file{},
		}
	}
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "\n" + b
}

// admit says whose turn it is to be written, of those that wait: as many as there may be at a time.
func (k *Keeper) admit() (now []*capture) {
	room := k.options.Open
	for _, c := range k.attacks {
		if !c.waiting {
			room--
		}
	}
	for _, c := range sorted(k.attacks) {
		if c.waiting && room > 0 && !(c.over() && k.recorded(c)) {
			c.waiting = false
			now = append(now, c)
			room--
		}
	}
	return now
}

// recorded reports whether an attack has a record already: more has become known of it since it was over.
func (k *Keeper) recorded(c *capture) bool {
	root, err := openFolder(k.options.Folder)
	if err != nil {
		return false
	}
	defer root.Close()
	_, err = root.Stat(recordName(c.record.Attack.ID, c.record.Attack.Target))
	return err == nil
}

// look looks through the ring: all of it for attacks that are new, and what has come since the last time for all.
func (k *Keeper) look() error {
	oldest, end := k.ring.bounds()
	before := newIndex(k.attacks)
	admitted := map[string]*capture{}
	for _, c := range k.admit() {
		admitted[c.record.Attack.ID] = c
	}
	if before.empty() && k.live.at < oldest.at {
		k.live = oldest // nobody has missed what is gone
	}
	err := k.walk(oldest, k.live, newIndex(admitted), false)
	if all := newIndex(k.attacks); !all.empty() {
		err = errors.Join(err, k.walk(k.live, end, all, true))
	}
	k.live = end
	return err
}

// walk hands the frames between two places to those whose they are.
func (k *Keeper) walk(from, to cursor, whose index, live bool) error {
	if whose.empty() {
		return nil
	}
	var errs []error
	f := new(Frame)
	for from.frame < to.frame {
		missed, ok := k.ring.next(&from, f)
		if live {
			k.counters.missed.Add(missed)
		}
		if !ok || from.frame > to.frame {
			break
		}
		for c := range whose.of(f, k.options.Hostgroup) {
			if !c.wants(f) {
				continue
			}
			if err := k.add(c, f); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// add writes a frame to an attack's capture.
func (k *Keeper) add(c *capture, f *Frame) error {
	c.seen++
	w, err := k.fileFor(c, f.Link)
	if w != nil && len(w.pending) > pendingBytes*3/4 && !c.failed {
		err = k.flush(w)
		c.failed = err != nil
	}
	if w == nil || !w.add(f, c.news, k.options.Interface) {
		k.counters.left.Add(1)
		return err
	}
	c.news = ""
	c.written++
	k.counters.frames.Add(1)
	return err
}

// fileFor returns the attack's file for a link type, and begins it if there is none; nil if it cannot be begun, which is tried once in
// a tick.
func (k *Keeper) fileFor(c *capture, link traffic.Link) (*file, error) {
	if w := c.files[link]; w != nil || c.failed {
		return w, nil
	}
	root, err := openFolder(k.options.Folder)
	if err != nil {
		c.failed = true
		return nil, k.fail(err)
	}
	defer root.Close()
	a := &c.record.Attack
	w, err := openFile(root, captureName(a.ID, a.Target, link), link, k.options.FileBytes, describe(&c.record))
	if err != nil {
		c.failed = true
		return nil, k.fail(err)
	}
	c.files[link] = w
	k.grown = true
	k.counters.files.Add(1)
	return w, nil
}

// index finds whose a frame is among attacks that are written.
type index struct {
	hosts  map[side][]*capture
	others []*capture // on prefixes and hostgroups
}

// side is who is attacked, or attacks.
type side struct {
	host      netip.Addr
	direction traffic.Direction
}

func newIndex(attacks map[string]*capture) index {
	x := index{hosts: map[side][]*capture{}}
	for _, c := range attacks {
		t := &c.record.Attack.Target
		switch {
		case c.waiting:
		case t.Scope != traffic.ScopeGroup && t.Prefix.IsSingleIP():
			key := side{t.Prefix.Addr(), t.Direction}
			x.hosts[key] = append(x.hosts[key], c)
		default:
			x.others = append(x.others, c)
		}
	}
	return x
}

func (x *index) empty() bool { return len(x.hosts)+len(x.others) == 0 }

// of yields the attacks that a frame may be of.
func (x *index) of(f *Frame, group func(netip.Addr) string) func(yield func(*capture) bool) {
	return func(yield func(*capture) bool) {
		for _, key := range [...]side{{f.To, traffic.Incoming}, {f.From, traffic.Outgoing}} {
			for _, c := range x.hosts[key] {
				if !yield(c) {
					return
				}
			}
		}
		for _, c := range x.others {
			if matches(&c.record.Attack.Target, f, group) && !yield(c) {
				return
			}
		}
	}
}
