package analyze

import (
	"cmp"
	"slices"
)

// mostDiscount is as much of a report as may be ordinary: of what is left, shares still have to be known.
const mostDiscount = 0.9

// Discount takes out of a report what is ordinary traffic in all likelihood: background is its share of the packets, and usual the report of the same
// target's traffic before the attack. Vectors lose what they have of it, and those of which next to nothing is left are vectors no more. What is left
// is the attack: its shares add up to 1 again. A report that is like ordinary traffic throughout stays as it is.
func (r *Report) Discount(usual *Report, background float64) {
	if !(background > 0) || len(usual.Vectors) == 0 || r.meanBytes == 0 {
		return
	}
	background = min(background, mostDiscount)
	bytes := min(background*usual.meanBytes/r.meanBytes, mostDiscount)
	type rest struct {
		Vector
		old int // index in r.Vectors
	}
	var left []rest
	packets, octets := max(0, r.Rest-usual.Rest*background), 0.0
	for i, v := range r.Vectors {
		var u Vector
		if n := slices.IndexFunc(usual.Vectors, func(u Vector) bool { return u.Class == v.Class }); n >= 0 {
			u = usual.Vectors[n]
		}
		v.Share, v.ByteShare = max(0, v.Share-u.Share*background), max(0, v.ByteShare-u.ByteShare*bytes)
		packets += v.Share
		octets += v.ByteShare
		// Ordinary traffic comes in bursts: twice as much of it is nothing new.
		if v.Share > u.Share*background && (v.Share >= VectorShare*(1-background) || v.ByteShare >= VectorShare*(1-bytes)) {
			left = append(left, rest{v, i})
		}
	}
	if len(left) == 0 {
		return
	}
	slices.SortStableFunc(left, func(a, b rest) int { return cmp.Compare(b.Share, a.Share) })
	place := map[int]int{}
	r.Vectors, r.Rest = nil, 1
	for i, v := range left {
		v.Share /= packets
		if octets > 0 {
			v.ByteShare /= octets
		}
		r.Rest -= v.Share
		place[v.old] = i
		r.Vectors = append(r.Vectors, v.Vector)
	}
	r.Rest = max(0, r.Rest)
	for i, v := range r.VectorOf {
		if now, still := place[v]; still {
			r.VectorOf[i] = now
		} else {
			r.VectorOf[i] = -1
		}
	}
	r.name()
}
