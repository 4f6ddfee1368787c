package signature

import "math/bits"

// set is a set of samples, a bit for each.
type set []uint64

func (s set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s set) has(i int) bool { return s[i/64]>>(i%64)&1 == 1 }

// weights say what a sample counts for: all samples of one word of a set count the same.
type weights struct {
	word  []float64
	total float64
	same  float64 // what every sample counts for, 0 if they differ
}

// of returns the weight of what is in both sets.
func (w *weights) of(a, b set) float64 {
	sum := 0.0
	b = b[:len(a)]
	if w.same > 0 {
		n := 0
		for i, x := range a {
			n += bits.OnesCount64(x & b[i])
		}
		return float64(n) * w.same
	}
	for i, x := range a {
		if x &= b[i]; x != 0 {
			sum += float64(bits.OnesCount64(x)) * w.word[i]
		}
	}
	return sum
}

// share is a weight's part of the whole.
func (w *weights) share(weight float64) float64 { return part(weight, w.total) }

// part is 0 of nothing.
func part(weight, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return weight / whole
}

// hash is the same for the same sets, and hardly ever for others.
func hash(sets ...set) uint64 {
	h := uint64(1)
	for _, s := range sets {
		for _, x := range s {
			h = mix(h ^ x)
		}
	}
	return h
}

// both returns what is in a and in b.
func both(a, b set) set {
	c := make(set, len(a))
	for i := range a {
		c[i] = a[i] & b[i]
	}
	return c
}

// without returns what is in a but not in b.
func without(a, b set) set {
	c := make(set, len(a))
	for i := range a {
		c[i] = a[i] &^ b[i]
	}
	return c
}

// either returns what is in a or in b.
func either(a, b set) set {
	c := make(set, len(a))
	for i := range a {
		c[i] = a[i] | b[i]
	}
	return c
}
