package detect

import (
	"math"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// Group is a hostgroup's thresholds. Arrays of two are indexed by traffic.Incoming and traffic.Outgoing.
type Group struct {
	Name    string
	Enabled [2]bool

	Host   [2]traffic.Limits // for one address
	Prefix [2]traffic.Limits // for a /24, /20, /16, /64, /56 or /48 as a whole (carpet bombing)
	Total  [2]traffic.Limits // for the hostgroup as a whole

	Window  time.Duration // what the limits hold over; 0 is 1 s, shorter than 100 ms is 100 ms; flows always have at least 1 s
	Average time.Duration // over 0: an exponential average with this time constant, stepped each second, instead of the window
	Clear   float64       // an attack is over below Clear x limit ...; outside of (0, 1] it is 0.8
	Quiet   time.Duration // ... for this long; 0 is 5 s
}

// Policy is everything that the detector is told. Nothing in it may be changed after it was handed over.
type Policy struct {
	Groups     []Group
	WarmUp     time.Duration                // after New and Reset nothing trips for this long, or for a window if that is longer; 0: no warm-up
	Group      func(netip.Addr) (int, bool) // the hostgroup of an address, false: not ours; nil: all addresses are group 0
	Contains   func(netip.Prefix) bool      // the prefix is wholly inside our networks; nil: none is
	Confidence float64                      // where packets were sampled: a threshold is crossed when the rate is over it with this probability; 0: when the estimate is
	// Gathered is how long what is counted may have been gathered before anybody heard of it, as in flow records: no rate is told as if it
	// all had come at once. 0: it is counted as it comes.
	Gathered   time.Duration
	MaxWatched int // hosts that have a window of their own at the same time, about 6 KiB each (3 where no prefix limits are set); 0 is 4096
}

// Observation is what was counted for one host within (From, To].
type Observation struct {
	Host      netip.Prefix // a /32 or /128, or a larger prefix whose hosts have no counters of their own
	Group     int          // index into Policy.Groups
	Direction traffic.Direction
	From, To  time.Time
	Counts    traffic.Counts
}

const (
	defaultWindow  = time.Second
	minWindow      = 100 * time.Millisecond
	flowWindow     = time.Second // the meter counts a flow once in this time, so a shorter window has no meaning for flows
	defaultClear   = 0.8
	defaultQuiet   = 5 * time.Second
	defaultWatched = 4096

	suspicion = 0.5 // of a limit: EventSuspected
)

// rule is one threshold in the form that it is compared in: a count over need within window trips.
type rule struct {
	metric traffic.Metric
	limit  float64 // per second
	window time.Duration
	need   float64
	least  time.Duration // Policy.Gathered
}

// rules are the thresholds of one hostgroup at one scope in one direction; an empty list never trips.
type rules struct {
	group   string
	list    []rule
	window  time.Duration
	average time.Duration
	clear   float64
	quiet   int64 // ns
	blind   int64 // ns after New or Reset during which nothing trips

	confidence float64 // 0: error bars do not count
	deviations float64 // that it asks for
}

// limit returns the threshold on m per second, 0 when there is none.
func (r *rules) limit(m traffic.Metric) float64 {
	for i := range r.list {
		if r.list[i].metric == m {
			return r.list[i].limit
		}
	}
	return 0
}

// spark is a rate of a single observation from which on its host gets a window.
type spark struct {
	metric traffic.Metric
	rate   float64
}

// groupRules is a Group, compiled.
type groupRules struct {
	name                string
	enabled             [2]bool
	host, prefix, total [2]*rules
	sparks              [2][]spark
}

// loud reports whether an observation over the given time warrants a window for its host.
func (g *groupRules) loud(dir traffic.Direction, c *traffic.Counts, elapsed int64) bool {
	seconds := float64(elapsed) / 1e9
	for i := range g.sparks[dir] {
		s := &g.sparks[dir][i]
		if float64(s.metric.Of(c)) > s.rate*seconds {
			return true
		}
	}
	return false
}

// A host's window matters when it can go over the host's limit, and when the host can hold so much of a prefix' load that the load is not spread.
// A window over the limit contains an observation over it, so half of the limit is early enough. An average remembers longer and starts from less.
const (
	sparkOfWindow  = 0.5
	sparkOfAverage = 0.1
	sparkOfPrefix  = 0.125
)

func compile(p *Policy) []groupRules {
	out := make([]groupRules, len(p.Groups))
	for i := range p.Groups {
		in, g := &p.Groups[i], &out[i]
		g.name, g.enabled = in.Name, in.Enabled
		for dir := range 2 {
			g.host[dir] = in.rules(dir, &in.Host[dir], p)
			g.prefix[dir] = in.rules(dir, &in.Prefix[dir], p)
			g.total[dir] = in.rules(dir, &in.Total[dir], p)
			g.sparks[dir] = sparks(g.host[dir], g.prefix[dir])
		}
	}
	return out
}

func (g *Group) rules(dir int, limits *traffic.Limits, p *Policy) *rules {
	r := &rules{group: g.Name, window: g.Window, average: max(g.Average, 0), clear: g.Clear, quiet: int64(g.Quiet)}
	if r.window <= 0 {
		r.window = defaultWindow
	}
	r.window = max(r.window, minWindow)
	if !(r.clear > 0 && r.clear <= 1) {
		r.clear = defaultClear
	}
	if r.quiet <= 0 {
		r.quiet = int64(defaultQuiet)
	}
	if p.WarmUp > 0 {
		r.blind = int64(max(p.WarmUp, r.window, flowWindow))
	}
	if p.Confidence > 0.5 && p.Confidence < 1 {
		r.confidence, r.deviations = p.Confidence, deviations(p.Confidence)
	}
	if !g.Enabled[dir] {
		return r
	}
	for m, limit := range limits {
		if !(limit > 0) || math.IsInf(limit, 1) {
			continue
		}
		window := r.window
		if traffic.Metric(m) == traffic.FPS {
			window = max(window, flowWindow)
		}
		r.list = append(r.list, rule{traffic.Metric(m), limit, window, limit * window.Seconds(), p.Gathered})
	}
	return r
}

func sparks(host, prefix *rules) []spark {
	var out []spark
	part := sparkOfWindow
	if host.average > 0 {
		part = sparkOfAverage
	}
	for m := range traffic.MetricCount {
		rate := host.limit(m) * part
		if p := prefix.limit(m) * sparkOfPrefix; p > 0 && (rate == 0 || p < rate) {
			rate = p
		}
		if rate > 0 {
			out = append(out, spark{m, rate})
		}
	}
	return out
}
