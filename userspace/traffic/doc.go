// Package traffic is the vocabulary that all parts of Weir speak: directions, counters, packets, samples, attacks; it imports the standard library only.
package traffic
