package plugin

import "time"

// Stats is what a plug-in has done since Weir's start.
type Stats struct {
	Name        string
	Up          bool      // the program runs, and has said Hello
	Since       time.Time // of the state that Up tells
	Version     string    // the program's, in its own words
	Starts      uint64
	Restarts    uint64 // ends that nobody had asked for
	Flows       uint64 // records taken
	Packets     uint64 // taken
	Detections  uint64 // taken: attacks that began
	Detected    int    // attacks that it says go on
	Results     uint64 // of bans
	Refused     uint64 // records that were broken
	Flooded     uint64 // records that were too many
	Failed      uint64 // calls that ended in an error
	Silenced    uint64 // lines of output that were not logged
	Waiting     int    // changes that it has not fetched
	LastError   string
	LastErrorAt time.Time
}

// Stats returns the present state.
func (p *Plugin) Stats() Stats {
	p.mu.Lock()
	s := p.stats
	p.mu.Unlock()
	s.Name, s.Waiting, s.Detected, s.Silenced = p.options.Name, p.changes.count(), int(p.book.size.Load()), p.output.silenced.Load()
	return s
}

// count changes the statistics.
func (p *Plugin) count(change func(*Stats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.stats)
}

// blame keeps what went wrong last.
func (p *Plugin) blame(err error) {
	p.count(func(s *Stats) { s.LastError, s.LastErrorAt = clip(text(err.Error()), mostError), time.Now() })
}

// mostError is how much of an error is kept, in bytes.
const mostError = 300
