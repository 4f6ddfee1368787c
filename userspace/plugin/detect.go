package plugin

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"weir/userspace/traffic"
)

// DetectionKind is what a detector says of an attack.
type DetectionKind uint8

const (
	DetectionStarted   DetectionKind = iota
	DetectionContinues               // it has said before that it has started
	DetectionEnded                   // or nobody has said for too long that it goes on
	detectionKindCount
)

var detectionKindNames = [detectionKindCount]string{"started", "continues", "ended"}

// String returns the kind's name as it stands in logs.
func (k DetectionKind) String() string {
	if k < detectionKindCount {
		return detectionKindNames[k]
	}
	return fmt.Sprintf("detection(%d)", uint8(k))
}

// Detection is what a plug-in says of an attack.
type Detection struct {
	Plugin    string
	Kind      DetectionKind
	Target    netip.Prefix // a host as /32 or /128, or a prefix, masked
	Direction traffic.Direction
	Metric    traffic.Metric
	Value     float64 // per second: packets, bits or flows
	Limit     float64 // the same; 0: the plug-in has named none
	Reason    string  // in the plug-in's words; of DetectionEnded also in Weir's
	Started   time.Time
	At        time.Time // when it was said
}

// attackKey tells the attacks of one program apart.
type attackKey struct {
	target    netip.Prefix
	direction traffic.Direction
}

// book is the attacks that one program says go on.
type book struct {
	most   int
	repeat time.Duration
	size   atomic.Int64 // of active, also while somebody is being told

	mu     sync.Mutex
	active map[attackKey]detected
}

type detected struct {
	Detection
	before time.Time // it is to be repeated, or it is over
}

func newBook(most int, repeat time.Duration) *book {
	return &book{most: most, repeat: repeat, active: map[attackKey]detected{}}
}

// errBookFull says that a program has more attacks than it may.
type errBookFull int

func (e errBookFull) Error() string {
	return fmt.Sprintf("%d attacks go on already, which is as many as may; end one first", int(e))
}

// say tells of an attack that has started, goes on or is over, and enters it if whoever is told agrees. It sets d.Kind; before is when it is
// to be repeated. An end of what never began is nothing.
func (b *book) say(d *Detection, tell func(Detection) error) (before time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() { b.size.Store(int64(len(b.active))) }()
	key := attackKey{d.Target, d.Direction}
	was, active := b.active[key]
	switch {
	case d.Kind == DetectionEnded && !active:
		return time.Time{}, nil
	case d.Kind == DetectionEnded:
		d.Started = was.Started
		// Whoever is told has no say in it: what has ended has ended.
		delete(b.active, key)
		return time.Time{}, tell(*d)
	case active:
		d.Kind, d.Started = DetectionContinues, was.Started
	case len(b.active) >= b.most:
		return time.Time{}, errBookFull(b.most)
	default:
		d.Kind = DetectionStarted
	}
	if err := tell(*d); err != nil {
		return time.Time{}, err
	}
	before = d.At.Add(b.repeat)
	b.active[key] = detected{*d, before}
	return before, nil
}

// expire ends the attacks that were not repeated by now, or all. tell's errors are returned by what they are about.
func (b *book) expire(now time.Time, all bool, reason string, tell func(Detection) error) (errs []error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() { b.size.Store(int64(len(b.active))) }()
	for key, d := range b.active {
		if !all && now.Before(d.before) {
			continue
		}
		delete(b.active, key)
		d.Kind, d.Reason, d.At = DetectionEnded, reason, now
		if err := tell(d.Detection); err != nil {
			errs = append(errs, fmt.Errorf("end of the attack on %s: %w", d.Target, err))
		}
	}
	return errs
}

// expire ends detections that are not repeated, or all.
func (p *Plugin) expire(now time.Time, all bool) {
	reason := fmt.Sprintf("not repeated within %s", p.options.Limits.Repeat)
	if all {
		reason = "the plug-in was stopped"
	}
	for _, err := range p.book.expire(now, all, reason, p.callbacks.Detect) {
		p.complain("detection", err)
	}
}
