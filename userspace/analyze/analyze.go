package analyze

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// What Analyze looks at.
const (
	// MaxSamples bounds the work and the memory of one analysis, which is less than 1 KiB a sample: of more samples, evenly chosen ones are read.
	MaxSamples = 1 << 16
	// VectorShare is the least share of packets or of bytes that makes a kind of packets a vector.
	VectorShare = 0.02
	// soleShare is the least share of all vectors at which one of them names the attack.
	soleShare = 0.9
	// doubt is how many samples halve the confidence: n samples leave n / (n + doubt) of it.
	doubt = 5
)

// Analyze says what samples of an attack in the given direction are made of. ours tells our own addresses, for what sources are possible; nil:
// not known. The report is the same for the same samples, keeps nothing of them, and has shares with every sample's rate applied.
func Analyze(samples []Seen, direction traffic.Direction, ours func(netip.Addr) bool) Report {
	report := Report{Name: Unclassified, Direction: direction, Samples: len(samples), VectorOf: make([]int, len(samples)), Spoofing: Spoofing{Verdict: SourcesUnclear}}
	for i := range report.VectorOf {
		report.VectorOf[i] = -1
	}
	step := (len(samples) + MaxSamples - 1) / MaxSamples
	if step > 1 {
		chosen := make([]Seen, 0, len(samples)/step+1)
		for i := 0; i < len(samples); i += step {
			chosen = append(chosen, samples[i])
		}
		few := Analyze(chosen, direction, ours)
		few.Samples = len(samples)
		for i, v := range few.VectorOf {
			report.VectorOf[i*step] = v
		}
		few.VectorOf = report.VectorOf
		return few
	}
	if len(samples) == 0 {
		return report
	}
	marks := make([]mark, len(samples))
	all := group{members: make([]int, len(samples))}
	for i := range samples {
		marks[i] = classify(&samples[i])
		all.members[i] = i
	}
	report.From, report.To = all.times(samples)
	refineUDP(samples, marks)
	refineConnections(samples, marks)
	refineReflection(samples, marks)
	report.vectors(samples, marks)
	report.name()
	report.Spoofing = spoofing(samples, direction, ours, report.reflected())
	if p, ok := carpet(samples, direction); ok {
		report.Patterns = append(report.Patterns, p)
	}
	if p, ok := pulses(samples, report.From, report.To); ok {
		report.Patterns = append(report.Patterns, p)
	}
	return report
}

// weight is how many packets a sample stands for, and bytes how many bytes. Both are bounded, so that no sum of MaxSamples overflows.
func (s *Seen) weight() uint64 { return uint64(min(max(s.Rate, 1), 1<<30)) }
func (s *Seen) bytes() uint64  { return s.weight() * uint64(min(s.Packet.Length, 1<<16)) }

// group is a class with its samples.
type group struct {
	class          string
	members        []int
	packets, bytes uint64
	proof          float64 // sum over the members
}

// times are those of the first and the last sample of a group.
func (g *group) times(samples []Seen) (from, to time.Time) {
	from = samples[g.members[0]].Time
	to = from
	for _, i := range g.members {
		if at := samples[i].Time; at.Before(from) {
			from = at
		} else if at.After(to) {
			to = at
		}
	}
	return from, to
}

// vectors groups the samples by class, and makes vectors of the large groups.
func (r *Report) vectors(samples []Seen, marks []mark) {
	at := map[string]int{}
	var groups []group
	var packets, bytes uint64
	for i := range samples {
		n, known := at[marks[i].class]
		if !known {
			n = len(groups)
			at[marks[i].class] = n
			groups = append(groups, group{class: marks[i].class})
		}
		g, weight, length := &groups[n], samples[i].weight(), samples[i].bytes()
		g.members = append(g.members, i)
		g.packets += weight
		g.bytes += length
		g.proof += marks[i].proof
		packets += weight
		bytes += length
	}
	r.meanBytes = float64(bytes) / float64(packets)
	slices.SortFunc(groups, func(a, b group) int {
		return cmp.Or(cmp.Compare(b.packets, a.packets), cmp.Compare(a.class, b.class))
	})
	for _, g := range groups {
		n := float64(len(g.members))
		v := Vector{Class: g.class, Share: share(g.packets, packets), ByteShare: share(g.bytes, bytes), Samples: len(g.members), Confidence: g.proof / n * n / (n + doubt)}
		if v.Share < VectorShare && v.ByteShare < VectorShare {
			r.Rest += v.Share
			continue
		}
		e := evidence{samples: samples, marks: marks, group: &g}
		v.Evidence = e.sentences(len(samples))
		v.From, v.To = g.times(samples)
		text := ""
		switch g.class {
		case FragmentFlood:
			v.Of, text = e.firstFragments()
		case ICMPFlood:
			v.Of, text = e.partOf("they quote what would have been answered with ")
		case ConnectionFlood:
			v.Of, text = e.partOf("they are opened for ")
		}
		if text != "" {
			v.Evidence = append(v.Evidence, text)
		}
		for _, i := range g.members {
			r.VectorOf[i] = len(r.Vectors)
		}
		r.Vectors = append(r.Vectors, v)
	}
}

// name names the report after its vectors. Fragments of another vector's datagrams, the errors that its questions caused, and the
// connections that it needs are part of that one.
func (r *Report) name() {
	var all, confidence float64
	shares := map[string]float64{}
	for _, v := range r.Vectors {
		class := v.Class
		if v.Of != "" && slices.ContainsFunc(r.Vectors, func(o Vector) bool { return o.Class == v.Of }) {
			class = v.Of
		}
		shares[class] += v.Share
		all += v.Share
		confidence += v.Share * v.Confidence
	}
	if all == 0 {
		return
	}
	r.Confidence = confidence / all
	r.Name = MultiVector
	for class, s := range shares {
		if s >= soleShare*all {
			r.Name = class
		}
	}
}

// reflected is the share of packets that are answers of reflectors.
func (r *Report) reflected() float64 {
	var sum float64
	for _, v := range r.Vectors {
		if v.Class == SYNACKReflection || isAmplification(v.Class) || isAmplification(v.Of) {
			sum += v.Share
		}
	}
	return sum
}

func share(part, all uint64) float64 {
	if all == 0 {
		return 0
	}
	return float64(part) / float64(all)
}
