package signature

import (
	"math/bits"

	"weir/userspace/traffic"
)

// How much of a payload is looked at, and how many of the samples have to agree on a byte.
const (
	payloadDepth = 64
	agreement    = 0.97
	payloadsRead = 1024 // of more, some evenly chosen: what they have in common is measured on all
)

// few returns about payloadsRead samples of a set, and what they weigh.
func (t *table) few(some set) (set, float64) {
	every := some.count()/payloadsRead + 1
	if every == 1 {
		return some, t.weight.of(some, some)
	}
	chosen := make(set, len(some))
	n := 0
	for i, x := range some {
		for ; x != 0; x &= x - 1 {
			if n++; n%every == 0 {
				chosen[i] |= x & -x
			}
		}
	}
	return chosen, t.weight.of(chosen, chosen)
}

// payloads adds the bytes that nearly all of the samples have in common: runs of whole bytes, and single bits where bytes vary.
func (p *pool) payloads(some set) {
	var weight float64
	var counted [payloadDepth][256]float64
	var ones [16][8]float64
	long := [payloadDepth]float64{} // how many reach so far
	t := p.attack
	some, weight = t.few(some)
	for i, x := range some {
		w := t.weight.word[i]
		for ; x != 0; x &= x - 1 {
			f := &t.facts[i*64+bits.TrailingZeros64(x)]
			if !transport(&f.Packet) {
				continue
			}
			for at, b := range f.Payload[:min(len(f.Payload), payloadDepth)] {
				counted[at][b] += w
				long[at] += w
			}
			for at, b := range f.Payload[:min(len(f.Payload), len(ones))] {
				for bit := range 8 {
					if b>>bit&1 == 1 {
						ones[at][bit] += w
					}
				}
			}
		}
	}
	common := [payloadDepth]int{} // the byte, -1: none
	for at := range common {
		common[at] = -1
		for b, w := range counted[at] {
			if w > 0 && w >= agreement*weight {
				common[at] = b
			}
		}
	}
	p.commonRuns(common[:])
	for at := range ones {
		if common[at] >= 0 || long[at] < agreement*weight {
			continue
		}
		var value, mask byte
		for bit := range 8 {
			switch {
			case ones[at][bit] >= agreement*weight:
				value |= 1 << bit
				mask |= 1 << bit
			case ones[at][bit] <= (1-agreement)*long[at]:
				mask |= 1 << bit
			}
		}
		if mask != 0 {
			p.add(condition{kind: payload, payload: traffic.Payload{Offset: uint16(at), Value: string([]byte{value}), Mask: string([]byte{mask})}})
		}
	}
}

// commonRuns adds runs of common bytes: as long as a rule can hold, and short ones, which are enough more often than not.
func (p *pool) commonRuns(common []int) {
	const most = 4 // of each length
	found := map[int]int{}
	for at := 0; at < len(common); at++ {
		end := at
		var value []byte
		for end < len(common) && common[end] >= 0 && len(value) < traffic.MaxPayloadBytes {
			value = append(value, byte(common[end]))
			end++
		}
		for _, n := range []int{1, 2, 4, 8, traffic.MaxPayloadBytes, len(value)} {
			if n > 0 && n <= len(value) && found[n] < most {
				found[n]++
				p.add(condition{kind: payload, payload: traffic.Payload{Offset: uint16(at), Value: string(value[:n])}})
			}
		}
	}
}
