package loader

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"sync/atomic"
)

// enum listed of bpf/abi_rules.h
const (
	listedNone = iota
	listedAllow
	listedBlock
	listedLeaf
)

const (
	sources4     = 1 << 19 // 1 << SOURCES4_LOG2
	networksEach = 32      // of 24 bits, in one struct sources4
)

// listedPrefix is a prefix of one of the lists.
type listedPrefix struct {
	netip.Prefix
	kind uint8
}

// sourceImage is one generation of the tables of sources.
type sourceImage struct {
	any      []uint64
	networks []weirSources4
	leaves   []weirSourceLeaf
	set      weirSourceSet
	lengths  []uint16
	buckets  []weirRuleBucket
}

// SetSources has packets from the prefixes of allow pass whatever rules say, and those from the prefixes of block dropped, for
// all of our hosts: these lists and no others, all at once. Of several prefixes that hold a source, the longest decides; one that
// is in both is allowed. A host that is banned stays so for all sources. An error leaves the lists as they were.
func (d *DataPlane) SetSources(allow, block []netip.Prefix) error {
	if n := len(allow) + len(block); n > d.plan.Sources {
		return fmt.Errorf("set sources: %d prefixes are more than the %d that there is room for; raise the room for sources", n, d.plan.Sources)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	four, six, err := sortSources(allow, block)
	if err != nil {
		return err
	}
	next := atomic.LoadUint32(&d.stateView()[0].Filter)>>filterSourcesGeneration&1 ^ 1
	if len(four)+len(six) == 0 {
		d.switchFilter(filterSources|filterBlocks, 0)
		return nil
	}
	im := &sourceImage{}
	im.paint(four)
	if err := im.crowdedHash(six); err != nil {
		return err
	}
	if err := quiesce(); err != nil {
		return err
	}
	copy(half[uint64](d, "sources_any", next), im.any)
	copy(half[weirSources4](d, "sources4", next), im.networks)
	copy(half[weirSourceLeaf](d, "source_leaves", next), im.leaves)
	copy(half[uint16](d, "source_lengths", next), im.lengths)
	copy(half[weirRuleBucket](d, "source_table", next), im.buckets)
	half[weirSourceSet](d, "source_sets", next)[0] = im.set
	word := next<<filterSourcesGeneration | filterSources
	if len(block) > 0 {
		word |= filterBlocks
	}
	d.switchFilter(filterSources|filterBlocks|1<<filterSourcesGeneration, word)
	return nil
}

// sortSources divides the lists by IP version, short prefixes first, and those that are blocked before those that are allowed.
func sortSources(allow, block []netip.Prefix) (four, six []listedPrefix, err error) {
	for kind, list := range map[uint8][]netip.Prefix{listedAllow: allow, listedBlock: block} {
		for _, p := range list {
			switch {
			case !p.IsValid() || p.Addr().Is4In6():
				return nil, nil, fmt.Errorf("set sources: %s is not a prefix", p)
			case p.Addr().Is4():
				four = append(four, listedPrefix{p.Masked(), kind})
			default:
				six = append(six, listedPrefix{p.Masked(), kind})
			}
		}
	}
	order := func(a, b listedPrefix) int {
		return cmp.Or(cmp.Compare(a.Bits(), b.Bits()), a.Addr().Compare(b.Addr()), cmp.Compare(b.kind, a.kind))
	}
	slices.SortFunc(four, order)
	slices.SortFunc(six, order)
	return four, six, nil
}

// paint puts the IPv4 prefixes over each other, the longer ones on top.
func (im *sourceImage) paint(prefixes []listedPrefix) {
	kinds := make([]uint8, sources4*networksEach)
	leaves := map[uint32]*weirSourceLeaf{}
	for _, p := range prefixes {
		b := p.Addr().As4()
		first := binary.BigEndian.Uint32(b[:])
		network := first >> 8
		if p.Bits() <= 24 {
			for i := range uint32(1) << (24 - p.Bits()) {
				kinds[network+i] = p.kind
			}
			continue
		}
		leaf := leaves[network]
		if leaf == nil {
			leaf = &weirSourceLeaf{}
			for i := range leaf.Kinds {
				leaf.Kinds[i] = uint64(kinds[network]) * 0x5555555555555555
			}
			leaves[network] = leaf
			kinds[network] = listedLeaf
		}
		for i := range uint32(1) << (32 - p.Bits()) {
			at := first&0xff + i
			word := &leaf.Kinds[at/32]
			*word = *word&^(3<<(at%32*2)) | uint64(p.kind)<<(at%32*2)
		}
	}
	im.any, im.networks = make([]uint64, sources4*networksEach/64), make([]weirSources4, sources4)
	im.leaves = make([]weirSourceLeaf, 0, len(leaves))
	for i := range im.networks {
		im.networks[i].Leaves = uint32(len(im.leaves))
		for j := range uint32(networksEach) {
			network := uint32(i)*networksEach + j
			im.networks[i].Kinds |= uint64(kinds[network]) << (2 * j)
			if kinds[network] != listedNone {
				im.any[network/64] |= 1 << (network % 64)
			}
			if kinds[network] == listedLeaf {
				im.leaves = append(im.leaves, *leaves[network])
			}
		}
	}
}

func (im *sourceImage) crowdedHash(prefixes []listedPrefix) error {
	for range 16 {
		err := im.hash(prefixes)
		if !errors.Is(err, errCrowded) {
			return err
		}
	}
	return fmt.Errorf("set sources: %w, whatever they are hashed with", errCrowded)
}

// hash enters the IPv6 prefixes, the longest lengths first.
func (im *sourceImage) hash(prefixes []listedPrefix) error {
	im.lengths = make([]uint16, 1<<16)
	im.set = weirSourceSet{}
	im.buckets = make([]weirRuleBucket, powerOfTwo(max(len(prefixes)/2, 64)))
	im.set.BucketMask = uint32(len(im.buckets) - 1)
	if err := binary.Read(rand.Reader, binary.NativeEndian, &im.set.Secret); err != nil {
		return fmt.Errorf("seed hashes of sources: %w", err)
	}
	number := map[int]int{} // of each length
	for _, p := range slices.Backward(prefixes) {
		n, ok := number[p.Bits()]
		if !ok {
			if n = len(number); n == MaxLengths {
				return fmt.Errorf("set sources: IPv6 prefix %s is of yet another length than %d others; split or widen some", p, n)
			}
			number[p.Bits()] = n
			im.set.HasIpv6 = 1
			im.set.Mask[n].High, im.set.Mask[n].Low = lengthMask(p.Bits())
		}
		if err := im.enter(p, n); err != nil {
			return err
		}
	}
	return nil
}

func lengthMask(bits int) (high, low uint64) {
	var b [16]byte
	for i := range bits {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])
}

func (im *sourceImage) enter(p listedPrefix, n int) error {
	key := keyOf(p.Addr())
	var sums [2]uint64
	for i := range sums {
		s := &im.set.Secret[i]
		sums[i] = (key.High&0xffffffff+s[0])*(key.High>>32+s[1]) + (key.Low&0xffffffff+s[2])*(key.Low>>32+s[3]) + (uint64(n)+s[4])*s[5]
	}
	e := tableEntry{Tag: sums[0], Word: uint32(p.kind)}
	if err := putEntry(im.buckets, sums[1], e); err != nil {
		return err
	}
	first := bits.ReverseBytes32(uint32(key.High))
	if p.Bits() >= 32 {
		im.lengths[first*0x9e3779b1>>16] |= 1 << n
		return nil
	}
	if free := 32 - p.Bits(); free <= 16 {
		for i := range uint32(1) << free {
			im.lengths[(first+i)*0x9e3779b1>>16] |= 1 << n
		}
		return nil
	}
	for i := range im.lengths {
		im.lengths[i] |= 1 << n
	}
	return nil
}
