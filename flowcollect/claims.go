package flowcollect

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"weir/userspace/traffic"
)

// claims keep traffic that several exporters of one group tell of from being counted twice.
//
// Where every member tells of every packet, a flow belongs to who told of it first, until nobody has told of it for a while: together
// they count each flow that any of them has seen once.
//
// Members that sample have each seen other packets, so flows cannot be told to be the same. There, all of a host's traffic (by direction)
// belongs to the member that tells of most of it: who sees all counts, who sees a part does not, and at no time do two. A group is
// treated like that as soon as one of its members samples.
//
// Both tables are of a fixed size, each claim with one place. Flows take the place of older ones; hosts have to outweigh them. Whoever has
// no place is counted from all members: too much at worst, never too little. What a member has claimed is free when it is silent.
//
// All workers share them, since each exporter is another worker's.
type claims struct {
	seed    uint64
	ours    func(netip.Addr) bool // nil: nobody knows
	heard   [membersMost]atomic.Int64
	stripes [claimStripes]sync.Mutex // each guards the places whose number it is, modulo claimStripes
	flows   []flowClaim              // made with the first group
	hosts   []hostClaim

	mu      sync.Mutex // guards what follows
	members map[netip.Addr]uint16
	groups  map[string]*group
}

// group is a group of exporters.
type group struct {
	id      uint64
	sampled atomic.Bool
}

// flowClaim is one flow's.
type flowClaim struct {
	what   uint64 // hash of group and flow
	until  int64  // ns since 1970
	member uint16
}

// hostClaim is one host's in one direction.
type hostClaim struct {
	what   uint64 // hash of group, host and direction
	at     int64  // ns since 1970: when the weights were last faded
	half   int64  // ns in which they halve
	leader int
	told   [tellersMost]teller
}

// teller is a member and what it has told of, in packets, scaled, the newer ones weighing more.
type teller struct {
	member uint16
	weight float64
}

const (
	membersMost  = 4096
	claimStripes = 64
	flowClaims   = 1 << 18
	hostClaims   = 1 << 14
	tellersMost  = 4

	flowSilence   = 30 * time.Second // a flow is free after this, and twice the time that its last record was of
	memberSilence = 90 * time.Second
	longestClaim  = 2 * time.Hour
	halfWeight    = 2 * time.Minute // or twice the longest record's time
	fadeEvery     = time.Second

	// Who takes a host over has told of so much more than the leader. Between two records of a flow weights fall by less than that, and
	// samples vary.
	overtakes      = 1.5
	overtakesBy    = 8 // samples
	firstMember    = 1
	unknownMember  = 0 // beyond membersMost: never silent
	directionMixer = 0x9e3779b97f4a7c15
)

func newClaims(seed uint64, ours func(netip.Addr) bool) *claims {
	return &claims{seed: seed, ours: ours, members: map[netip.Addr]uint16{}, groups: map[string]*group{}}
}

// join finds a group and an exporter's number in it. Numbers stay.
func (c *claims) join(name string, exporter netip.Addr) (*group, uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flows == nil {
		c.flows, c.hosts = make([]flowClaim, flowClaims), make([]hostClaim, hostClaims)
	}
	g := c.groups[name]
	if g == nil {
		g = &group{id: mix(c.seed, uint64(len(c.groups)+1))}
		c.groups[name] = g
	}
	member := c.members[exporter]
	if member == unknownMember && len(c.members)+firstMember < membersMost {
		member = uint16(len(c.members) + firstMember)
		c.members[exporter] = member
	}
	return g, member
}

// hear notes that a member is there.
func (c *claims) hear(member uint16, now time.Time) { c.heard[member].Store(now.UnixNano()) }

func (c *claims) silent(member uint16, now int64) bool {
	return member != unknownMember && now-c.heard[member].Load() > memberSilence.Nanoseconds()
}

// taken reports whether what a record tells of is counted from another member of the group.
func (c *claims) taken(g *group, member uint16, f *traffic.Flow, now time.Time) bool {
	if f.Rate > 1 && !g.sampled.Load() {
		g.sampled.Store(true)
	}
	if g.sampled.Load() {
		return c.hostTaken(c.hostOf(g, f), member, f, now.UnixNano())
	}
	return c.flowTaken(flowOf(g, f), member, f, now.UnixNano())
}

func (c *claims) flowTaken(what uint64, member uint16, f *traffic.Flow, now int64) bool {
	at := what % flowClaims
	stripe := &c.stripes[at%claimStripes]
	stripe.Lock()
	defer stripe.Unlock()
	claim := &c.flows[at]
	if claim.what == what && claim.member != member && claim.until > now && !c.silent(claim.member, now) {
		return true
	}
	*claim = flowClaim{what, now + min(flowSilence.Nanoseconds()+2*took(f), longestClaim.Nanoseconds()), member}
	return false
}

// took is the time that a record is of.
func took(f *traffic.Flow) int64 { return min(max(f.End-f.Start, 0), longestClaim.Nanoseconds()) }

func (c *claims) hostTaken(what uint64, member uint16, f *traffic.Flow, now int64) bool {
	at := what % hostClaims
	stripe := &c.stripes[at%claimStripes]
	stripe.Lock()
	defer stripe.Unlock()
	claim := &c.hosts[at]
	claim.fade(now)
	weight := float64(f.Packets) * float64(f.Rate)
	if claim.what != what {
		if claim.yield(weight) {
			return false
		}
		*claim = hostClaim{what: what, at: now, half: halfWeight.Nanoseconds()}
		claim.told[0].member = member
	}
	claim.half = max(claim.half, min(2*took(f), longestClaim.Nanoseconds()))
	mine := claim.teller(member)
	claim.told[mine].weight += weight
	leader := claim.told[claim.leader]
	if claim.told[mine].weight > overtakes*leader.weight+overtakesBy*float64(f.Rate) || c.silent(leader.member, now) {
		claim.leader = mine
	}
	return claim.leader != mine
}

// fade has the older weigh less.
func (h *hostClaim) fade(now int64) {
	passed := now - h.at
	if passed < fadeEvery.Nanoseconds() {
		return
	}
	h.at = now
	if h.half == 0 {
		return
	}
	factor := math.Exp2(-float64(passed) / float64(h.half))
	for i := range h.told {
		h.told[i].weight *= factor
	}
}

// yield has a host give way a little to another one that would have its place; false: it has given way.
func (h *hostClaim) yield(weight float64) bool {
	all := 0.0
	for i := range h.told {
		all += h.told[i].weight
	}
	if all <= weight {
		return false
	}
	for i := range h.told {
		h.told[i].weight *= (all - weight) / all
	}
	return true
}

// teller finds a member's place; one that is new takes that of who has told of least, but for the leader's.
func (h *hostClaim) teller(member uint16) int {
	least := -1
	for i := range h.told {
		if h.told[i].member == member {
			return i
		}
		if i != h.leader && (least < 0 || h.told[i].weight < h.told[least].weight) {
			least = i
		}
	}
	h.told[least] = teller{member: member}
	return least
}

// mix puts another word into a hash: the halves of a product of 128 bits, as in wyhash.
func mix(h, word uint64) uint64 {
	hi, lo := bits.Mul64(h^word^0xa0761d6478bd642f, 0xe7037ed1a0b428db)
	return hi ^ lo
}

func mixAddr(h uint64, a netip.Addr) uint64 {
	b := a.As16()
	return mix(mix(h, binary.BigEndian.Uint64(b[:8])), binary.BigEndian.Uint64(b[8:]))
}

// flowOf is the hash of a record's flow.
func flowOf(g *group, f *traffic.Flow) uint64 {
	h := mixAddr(mixAddr(g.id, f.Src), f.Dst)
	return mix(h, uint64(f.SrcPort)<<32|uint64(f.DstPort)<<16|uint64(f.Protocol))
}

// hostOf is the hash of our host in a record and of its direction: the destination, unless that is not ours and the source is.
func (c *claims) hostOf(g *group, f *traffic.Flow) uint64 {
	if c.ours != nil && !c.ours(f.Dst) && c.ours(f.Src) {
		return mixAddr(mix(g.id, directionMixer), f.Src)
	}
	return mixAddr(g.id, f.Dst)
}
