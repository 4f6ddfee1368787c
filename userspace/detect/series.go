package detect

import "weir/userspace/traffic"

// A window is cut into this many buckets. The newest one is still filling, so that a window holds between 19 and 20 of them: never more than its length.
const windowBuckets = 20

// series is traffic over time: a ring of buckets and the running sums of two windows over it.
// The newest window ends now. Hosts that send little are read once a second only, so the newest second of an aggregate of them is not all there yet;
// its settled window ends lag buckets ago and is complete. A single host on its own needs no settled window: lag 0.
type series struct {
	width   int64 // ns of a bucket
	lag     int64 // buckets
	head    int64 // number of the newest bucket: it covers (head*width, (head+1)*width]
	at      int64 // ns; the time up to which buckets have been opened
	live    bool
	newest  traffic.Counts // sum of the buckets (head-windowBuckets, head]
	settled traffic.Counts // sum of the buckets (head-lag-windowBuckets, head-lag]; unused when lag is 0
	ring    []traffic.Counts
}

func newSeries(window, lag int64) *series {
	width := window / windowBuckets
	s := &series{width: width, lag: (lag + width - 1) / width}
	s.ring = make([]traffic.Counts, windowBuckets+s.lag)
	return s
}

func (s *series) reset() {
	clear(s.ring)
	s.newest, s.settled, s.live = traffic.Counts{}, traffic.Counts{}, false
}

func (s *series) slot(bucket int64) *traffic.Counts {
	n := int64(len(s.ring))
	i := bucket % n
	if i < 0 {
		i += n
	}
	return &s.ring[i]
}

// advance opens buckets until t is inside the newest one, and drops what leaves the windows.
func (s *series) advance(t int64) {
	bucket := floorDiv(t-1, s.width)
	if !s.live {
		s.live, s.head, s.at = true, bucket, t
		return
	}
	s.at = max(s.at, t)
	if bucket <= s.head {
		return
	}
	if bucket-s.head >= int64(len(s.ring)) {
		clear(s.ring)
		s.newest, s.settled, s.head = traffic.Counts{}, traffic.Counts{}, bucket
		return
	}
	for s.head < bucket {
		s.head++
		s.newest.Sub(s.slot(s.head - windowBuckets))
		expired := s.slot(s.head) // holds the ring's oldest bucket until it is cleared
		if s.lag > 0 {
			s.settled.Sub(expired)
			s.settled.Add(s.slot(s.head - s.lag))
		}
		*expired = traffic.Counts{}
	}
}

// add spreads c evenly over the buckets between from and to. What is older than the ring is left out.
func (s *series) add(from, to int64, c *traffic.Counts) {
	s.advance(to)
	first, last := floorDiv(from, s.width), floorDiv(to-1, s.width)
	if first >= last {
		s.put(last, c)
		return
	}
	first = max(first, s.head-int64(len(s.ring))+1)
	length := float64(to - from)
	var before traffic.Counts
	if start := first * s.width; start > from {
		before = portion(c, min(float64(start-from)/length, 1))
	}
	for b := first; b < last; b++ {
		until := portion(c, float64((b+1)*s.width-from)/length)
		part := until
		part.Sub(&before)
		s.put(b, &part)
		before = until
	}
	rest := *c
	rest.Sub(&before)
	s.put(last, &rest)
}

func (s *series) put(bucket int64, c *traffic.Counts) {
	if bucket <= s.head-int64(len(s.ring)) {
		return
	}
	s.slot(bucket).Add(c)
	if bucket > s.head-windowBuckets {
		s.newest.Add(c)
	}
	if s.lag > 0 && bucket <= s.head-s.lag {
		s.settled.Add(c)
	}
}

// take removes what o holds, as far as it is in s.
func (s *series) take(o *series) {
	if !o.live || !s.live {
		return
	}
	for b := o.head - int64(len(o.ring)) + 1; b <= o.head; b++ {
		c := o.slot(b)
		bucket := floorDiv(b*o.width+o.width/2, s.width)
		if c.Zero() || bucket > s.head || bucket <= s.head-int64(len(s.ring)) {
			continue
		}
		part := least(s.slot(bucket), c)
		s.slot(bucket).Sub(&part)
		if bucket > s.head-windowBuckets {
			s.newest.Sub(&part)
		}
		if s.lag > 0 && bucket <= s.head-s.lag {
			s.settled.Sub(&part)
		}
	}
}

// copyTo adds all buckets to o, which may have buckets of another width.
func (s *series) copyTo(o *series) {
	if !s.live {
		return
	}
	for b := s.head - int64(len(s.ring)) + 1; b <= s.head; b++ {
		if c := s.slot(b); !c.Zero() {
			start := b * s.width
			o.add(start, max(min(start+s.width, s.at), start+1), c)
		}
	}
}

// view is one of the two windows.
type view struct {
	sum  *traffic.Counts
	last int64 // its newest bucket
	end  int64 // ns
}

// fuller returns the window that holds more of m.
func (s *series) fuller(m traffic.Metric) view {
	if s.lag > 0 && m.Of(&s.settled) > m.Of(&s.newest) {
		return view{&s.settled, s.head - s.lag, (s.head - s.lag + 1) * s.width}
	}
	return view{&s.newest, s.head, s.at}
}

// began returns the start of v's oldest bucket with any m.
func (s *series) began(v view, m traffic.Metric) int64 {
	b := v.last - windowBuckets + 1
	for b < v.last && m.Of(s.slot(b)) == 0 {
		b++
	}
	return b * s.width
}

// rose returns the start of the newest run of buckets in v that hold more than level of m each.
func (s *series) rose(v view, m traffic.Metric, level float64) int64 {
	oldest := v.last - windowBuckets + 1
	b := v.last
	for b > oldest && float64(m.Of(s.slot(b))) <= level {
		b-- // the newest bucket is still filling
	}
	for b > oldest && float64(m.Of(s.slot(b-1))) > level {
		b--
	}
	return b * s.width
}

// recentBuckets is how far back "recently" reaches: long enough to hold readings of busy hosts, short enough to forget what was before an attack.
const recentBuckets = 3

// recent returns the rate of m per second over the newest buckets.
func (s *series) recent(m traffic.Metric) float64 {
	var n uint64
	for b := s.head - recentBuckets + 1; b <= s.head; b++ {
		n += m.Of(s.slot(b))
	}
	elapsed := max(s.at-(s.head-recentBuckets+1)*s.width, s.width)
	return float64(n) / float64(elapsed) * 1e9
}
