package flowcollect

import "time"

// turnEvery is how long counts are recent: what is wrong with an exporter is judged by those of the last one to two of these.
const turnEvery = 5 * time.Minute

// mark is what had been counted at a time.
type mark struct {
	at     time.Time
	counts Recent
}

// Recent is what an exporter has sent lately.
type Recent struct {
	Over                               time.Duration // the time that it is of
	Datagrams, Records, Errors         uint64
	Lost, Due                          uint64 // by sequence numbers: what did not come, of what should have
	Withheld, BadTimes, GivenUp, Drops uint64 // Drops: samples that the agent says it has lost
	Collisions                         uint64
}

// counted is all that was counted so far.
func (x *exporter) counted(t *tally) Recent {
	return Recent{
		Datagrams: x.datagrams, Records: x.records, Errors: x.errors, Lost: t.lost, Due: t.due, Withheld: x.withheld, BadTimes: t.badTime,
		GivenUp: t.givenUp, Drops: t.agentDrops, Collisions: t.collisions,
	}
}

// turn makes what was counted until now the past, when it is time.
func (x *exporter) turn(now time.Time) {
	last := x.before[1].at
	if last.IsZero() {
		last = x.first
	}
	if now.Sub(last) < turnEvery {
		return
	}
	t := x.tally(now)
	x.before[0], x.before[1] = x.before[1], mark{now, x.counted(&t)}
}

// recent is what was counted lately.
func (x *exporter) recent(t *tally, now time.Time) Recent {
	then := x.before[0]
	if then.at.IsZero() {
		then.at = x.first
	}
	r := x.counted(t)
	r.Over = now.Sub(then.at)
	// What was late is not lost any more: that count can fall.
	for _, c := range []struct{ now, then *uint64 }{
		{&r.Datagrams, &then.counts.Datagrams}, {&r.Records, &then.counts.Records}, {&r.Errors, &then.counts.Errors}, {&r.Lost, &then.counts.Lost},
		{&r.Due, &then.counts.Due}, {&r.Withheld, &then.counts.Withheld}, {&r.BadTimes, &then.counts.BadTimes}, {&r.GivenUp, &then.counts.GivenUp},
		{&r.Drops, &then.counts.Drops}, {&r.Collisions, &then.counts.Collisions},
	} {
		*c.now -= min(*c.now, *c.then)
	}
	return r
}

func (r *Recent) lostPercent() float64 {
	if r.Lost == 0 || r.Due == 0 {
		return 0
	}
	return min(100, 100*float64(r.Lost)/float64(r.Due))
}
