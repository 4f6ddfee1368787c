package hosts

import (
	"time"

	"weir/userspace/traffic"
)

// ordinaryTime is what the average of a host's ordinary traffic is over.
const ordinaryTime = 5 * time.Minute

// Ordinary is how many packets a second each host has when nothing is the matter with it: a moving average over five minutes that
// stands still while the host is under suspicion or attack. It takes 8 bytes per slot and direction. One goroutine uses it.
type Ordinary struct {
	began  time.Time
	pps    [2][]float32       // by direction and slot
	upTo   [2][]uint32        // milliseconds since began; they wrap after 49 days, which spoils one average a little
	frozen [2]map[uint32]bool // slots
}

// NewOrdinary returns the averages of so many slots, all of them 0.
func NewOrdinary(slots int, now time.Time) *Ordinary {
	o := &Ordinary{began: now}
	for d := range o.pps {
		o.pps[d], o.upTo[d], o.frozen[d] = make([]float32, slots), make([]uint32, slots), map[uint32]bool{}
	}
	return o
}

func (o *Ordinary) milliseconds(at time.Time) uint32 {
	return uint32(at.Sub(o.began) / time.Millisecond)
}

// Saw takes in that a slot had so many packets since the last time that it had any, until now.
func (o *Ordinary) Saw(slot uint32, d traffic.Direction, packets uint64, now time.Time) {
	if len(o.frozen[d&1]) > 0 && o.frozen[d&1][slot] {
		return
	}
	at := o.milliseconds(now)
	average, upTo := &o.pps[d&1][slot], &o.upTo[d&1][slot]
	passed := float32(max(at-*upTo, 1))
	*average += passed / (passed + float32(ordinaryTime/time.Millisecond)) * (float32(packets)*1000/passed - *average)
	*upTo = at
}

// At is a slot's average as of now: silence counts.
func (o *Ordinary) At(slot uint32, d traffic.Direction, now time.Time) float64 {
	average := float64(o.pps[d&1][slot])
	if o.frozen[d&1][slot] {
		return average
	}
	passed := float64(o.milliseconds(now) - o.upTo[d&1][slot])
	return average * (1 - passed/(passed+float64(ordinaryTime/time.Millisecond)))
}

// Freeze keeps a slot's average as it is, or has it go on from now.
func (o *Ordinary) Freeze(slot uint32, d traffic.Direction, on bool, now time.Time) {
	if on {
		o.frozen[d&1][slot] = true
		return
	}
	delete(o.frozen[d&1], slot)
	o.upTo[d&1][slot] = o.milliseconds(now)
}

// Release forgets a slot that is somebody else's from now on.
func (o *Ordinary) Release(slot uint32, now time.Time) {
	for d := range o.pps {
		o.pps[d][slot], o.upTo[d][slot] = 0, o.milliseconds(now)
		delete(o.frozen[d], slot)
	}
}
