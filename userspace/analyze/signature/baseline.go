package signature

import (
	"math"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

// BaselineConfig says how much of a host's normal traffic is kept. The zero value of each field stands for its default.
type BaselineConfig struct {
	Samples  int           // kept whole, at most; default 512
	HalfLife time.Duration // after which a packet counts for half; default 1 hour
	Seed     uint64        // which samples are kept depends on it: hosts whose baselines are merged need different ones
}

// SampleBytesKept is how much of a payload a baseline keeps.
const SampleBytesKept = 32

// BaselineBytes is the memory of a Baseline with its histograms, without samples; each of those takes KeptBytes on top.
const (
	BaselineBytes = 6400
	KeptBytes     = 128
)

// Baseline is a host's normal traffic in one direction: histograms of all packets, and a fair choice of whole samples, both of which
// forget old traffic. It takes at most BaselineBytes + Samples x KeptBytes (72 kB by default). Whoever feeds it stops while the host is
// attacked. It is not safe for concurrent use.
type Baseline struct {
	config BaselineConfig
	since  time.Time // the time that choosing counts from
	counts histograms
	kept   []kept // a heap, the largest key first
	drawn  uint64
}

// kept is one sample. Those of the smallest keys are kept (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006,
// in the logarithm, with weights that grow with time instead of old ones that shrink).
type kept struct {
	key         float64
	time        int64
	src, dst    [16]byte
	ports       [2]uint16
	length      uint16
	window      uint16
	options     uint32
	label       uint32
	frame       uint32
	rate        uint32
	offset      uint16
	allFlags    uint16
	payloadSize uint16
	protocol    uint8
	anomaly     uint8
	ttl         uint8
	dscp        uint8
	icmp        [2]uint8
	bits        uint8 // keptFour and so on
	payloadKept uint8
	payload     [SampleBytesKept]byte
}

const (
	keptFour = 1 << iota
	keptDont
	keptMore
	keptFirst
	keptLater
)

// NewBaseline returns an empty one.
func NewBaseline(c BaselineConfig) *Baseline {
	if c.Samples <= 0 {
		c.Samples = 512
	}
	if c.HalfLife <= 0 {
		c.HalfLife = time.Hour
	}
	return &Baseline{config: c}
}

// Observe adds a packet, which counts for s.Rate packets at the time s.Time. Nothing of s is kept.
func (b *Baseline) Observe(s *analyze.Seen) {
	if b.since.IsZero() {
		b.since = s.Time
	}
	weight := float64(max(s.Rate, 1))
	b.counts.add(s, weight, b.config.HalfLife)
	b.drawn++
	u := (float64(mix(b.config.Seed+b.drawn*0x9e3779b97f4a7c15)>>11) + 0.5) / (1 << 53)
	age := s.Time.Sub(b.since).Seconds() / b.config.HalfLife.Seconds()
	b.keep(math.Log(-math.Log(u))-math.Log(weight)-age*math.Ln2, s)
}

// mix is the finalizer of SplitMix64: numbers that follow each other become as good as random ones.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// keep adds a sample if its key is among the smallest.
func (b *Baseline) keep(key float64, s *analyze.Seen) {
	if len(b.kept) == b.config.Samples && key >= b.kept[0].key {
		return
	}
	b.push(pack(key, s))
}

// push adds to the heap, at the cost of the largest key if it is full.
func (b *Baseline) push(k kept) {
	if len(b.kept) < b.config.Samples {
		b.kept = append(b.kept, k)
		for i := len(b.kept) - 1; i > 0 && b.kept[(i-1)/2].key < b.kept[i].key; i = (i - 1) / 2 {
			b.kept[i], b.kept[(i-1)/2] = b.kept[(i-1)/2], b.kept[i]
		}
		return
	}
	if k.key >= b.kept[0].key {
		return
	}
	b.kept[0] = k
	for i := 0; ; {
		largest := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(b.kept) && b.kept[child].key > b.kept[largest].key {
				largest = child
			}
		}
		if largest == i {
			return
		}
		b.kept[i], b.kept[largest] = b.kept[largest], b.kept[i]
		i = largest
	}
}

// Merge adds what another baseline has seen, for example of another sampler or of another host of the same network.
func (b *Baseline) Merge(o *Baseline) {
	if o.since.IsZero() {
		return
	}
	if b.since.IsZero() {
		b.since = o.since
	}
	b.counts.merge(&o.counts, b.config.HalfLife)
	// Keys count time from since: put the other's on ours.
	shift := o.since.Sub(b.since).Seconds() / b.config.HalfLife.Seconds() * math.Ln2
	for _, k := range o.kept {
		k.key -= shift
		b.push(k)
	}
}

// Packets returns how many packets the histograms stand for, old ones in part.
func (b *Baseline) Packets() float64 { return b.counts.total }

// Samples returns the kept samples in the order of their time, with Rate 1: each stands for as much traffic as any other. A payload's
// first SampleBytesKept bytes are there.
func (b *Baseline) Samples() []analyze.Seen {
	return unpack(b.kept)
}

// Bound returns a share of normal traffic that rules together match at most, with 95 % confidence, as far as the histograms tell: 1 when
// they say nothing. A rule matches no more than the rarest of its conditions.
func (b *Baseline) Bound(rules []traffic.Rule) float64 {
	sum := 0.0
	for i := range rules {
		sum += b.counts.bound(&rules[i])
	}
	_, most := wilson(sum, b.counts.evidence)
	return most
}
