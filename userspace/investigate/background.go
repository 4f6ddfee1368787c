package investigate

import (
	"math"
	"time"

	"weir/userspace/analyze"
)

// rate is how many packets of a kind there are in a second, by samples, where those of long ago count for less.
type rate struct {
	sum         float64
	first, last time.Time
}

// rateMemory is after how long a packet counts for a third of what it counted; rateLeast is the shortest time that a rate is known by.
const (
	rateMemory = time.Minute
	rateLeast  = 250 * time.Millisecond
)

func (r *rate) add(s *analyze.Seen) {
	if r.first.IsZero() {
		r.first, r.last = s.Time, s.Time
	}
	if passed := s.Time.Sub(r.last); passed > 0 {
		r.sum *= math.Exp(-passed.Seconds() / rateMemory.Seconds())
		r.last = s.Time
	}
	r.sum += weight(s)
}

// perSecond is 0 while too little is known.
func (r *rate) perSecond() float64 {
	over := r.last.Sub(r.first)
	if over < rateLeast {
		return 0
	}
	return r.sum / (rateMemory.Seconds() * (1 - math.Exp(-over.Seconds()/rateMemory.Seconds())))
}

func weight(s *analyze.Seen) float64 { return float64(max(s.Rate, 1)) }

// usual is how many packets a target had in a second before an attack: by the last packets of all if they go back far enough, else by what its hosts had.
func (b *Book) usual(a *attack) float64 {
	var first time.Time
	sum := 0.0
	for _, i := range b.ordered() {
		s := &b.recent[i]
		if first.IsZero() {
			first = s.Time
		}
		if s.Time.Before(a.since) && !b.of[i] && a.concerns(s) {
			sum += weight(s)
		}
	}
	if over := a.since.Sub(first); !first.IsZero() && over >= rateLeast {
		return sum / over.Seconds()
	}
	return b.normal.rate(a.target)
}

// background is the share of an attack's samples that is ordinary traffic, if that goes on as before.
func (b *Book) background(a *attack) float64 {
	first, last, sum := a.samples[0].Time, a.samples[0].Time, 0.0
	for i := range a.samples {
		s := &a.samples[i]
		if s.Time.Before(first) {
			first = s.Time
		}
		if s.Time.After(last) {
			last = s.Time
		}
		sum += weight(s)
	}
	return min(mostBackground, b.usual(a)*last.Sub(first).Seconds()/sum)
}

// mostBackground is as much of an attack's samples as may be ordinary: it is an attack, after all.
const mostBackground = 0.9
