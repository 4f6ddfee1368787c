package export

import "time"

// Amount is numbers of what a sink can be given.
type Amount struct {
	Snapshots uint64
	Changes   uint64
	Flows     uint64
}

// Stats is what a Runner has done since its start.
type Stats struct {
	Name        string
	Pushes      uint64 // snapshots stored
	Changes     uint64 // told
	Flows       uint64 // records sent
	Replaced    uint64 // snapshots that came more often than Options.Every; nothing is missing
	Failures    uint64 // calls that ended in an error
	Lost        Amount // for want of room, refused for good, or left at the end; of snapshots each that failed, or whose turn passed in a pause
	Waiting     Amount // now
	LastError   string
	LastErrorAt time.Time
	LastSuccess time.Time
	Up          bool // the sink answered the last call; false also before the first
}

// Stats returns the present state.
func (r *Runner) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Name = r.name
	// Beside those on their way.
	s.Waiting.Changes += uint64(len(r.waiting.changes))
	s.Waiting.Flows += uint64(len(r.waiting.flows))
	if r.waiting.snapshot != nil {
		s.Waiting.Snapshots = 1
	}
	return s
}

// logEvery is how often the log may speak of a sink's failures.
const logEvery = time.Minute

// logged is what the log knows of already.
type logged struct {
	at       time.Time
	failures uint64
	lost     Amount
	down     bool // the last that it knows
}

// report logs failures and losses: the first at once, then what has come together in a minute; and that the sink is back, when it was said to be away.
// At the end it logs what is left.
func (r *Runner) report(now time.Time, end bool) {
	s := r.Stats()
	l := &r.logged
	back := l.down && s.Up
	if !back {
		if s.Failures == l.failures && s.Lost == l.lost {
			return
		}
		if !end && !l.at.IsZero() && now.Sub(l.at) < logEvery {
			return
		}
	}
	since := []any{
		"failures", s.Failures - l.failures, "lost_snapshots", s.Lost.Snapshots - l.lost.Snapshots,
		"lost_changes", s.Lost.Changes - l.lost.Changes, "lost_flows", s.Lost.Flows - l.lost.Flows, "waiting_changes", s.Waiting.Changes,
	}
	if back {
		r.log.Info("sink answers again", since...)
	} else {
		r.log.Warn("sink fails or loses data", append(since, "error", s.LastError)...)
		l.at = now
	}
	l.failures, l.lost, l.down = s.Failures, s.Lost, !s.Up && s.Failures > 0
}

// abandon counts as lost what waits and whatever comes from now on.
func (r *Runner) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	w := &r.waiting
	if w.snapshot != nil {
		r.stats.Lost.Snapshots++
	}
	r.stats.Lost.Changes += uint64(len(w.changes) + len(r.telling))
	r.stats.Lost.Flows += uint64(len(w.flows) + len(r.sending) - r.unsent)
	r.waiting, r.stats.Waiting = waiting{}, Amount{}
	r.telling, r.sending, r.unsent = nil, nil, 0
}
