package loader

import (
	"sync/atomic"

	"weir/userspace/traffic"
)

func (d *DataPlane) stateView() []weirCpu { return view[weirCpu](d.state, d.cpus) }

// Counters returns the data plane's counts, summed over the CPUs.
func (d *DataPlane) Counters() Counters {
	var sum Counters
	for i := range d.stateView() {
		c := &d.stateView()[i]
		for family := range c.Exits {
			for reason := range c.Exits[family] {
				e := &c.Exits[family][reason]
				sum.Exits[family][reason].Packets += atomic.LoadUint64(&e.Packets)
				sum.Exits[family][reason].Bytes += atomic.LoadUint64(&e.Bytes)
			}
		}
		for a := range c.Anomalies {
			sum.Anomalies[a] += atomic.LoadUint64(&c.Anomalies[a])
		}
		sum.SamplesLost += atomic.LoadUint64(&c.SamplesLost)
		sum.FoldedPackets += atomic.LoadUint64(&c.FoldedPackets)
		sum.SourceAllowed += atomic.LoadUint64(&c.SourceAllowed)
		sum.SourceBlocked += atomic.LoadUint64(&c.SourceBlocked)
		sum.RedirectFailed += atomic.LoadUint64(&c.RedirectFailed)
	}
	return sum
}

// SetSampling has one packet in rate sampled, and one in suspect of hosts under suspicion; 0 is none.
func (d *DataPlane) SetSampling(rate, suspect uint32) {
	for i := range d.stateView() {
		c := &d.stateView()[i]
		atomic.StoreUint32(&c.SampleRate, rate)
		atomic.StoreUint32(&c.SuspectRate, suspect)
	}
}

// flowFill is how many of the CPU's flow bits are set in this interval, 0 to 1.
func (d *DataPlane) flowFill(cpu int) float64 {
	c := &d.stateView()[cpu]
	bits := atomic.LoadUint64(&c.FlowBits[atomic.LoadUint32(&c.Generation)&1])
	return float64(bits) / (flowWords * 64)
}

// Flip begins a new flow interval: every flow counts anew. It clears the half of the bitmap that is not in use, then has the
// CPUs use it. One goroutine calls it.
func (d *DataPlane) Flip() {
	words := view[uint64](d.flows, d.cpus*2*flowWords)
	for cpu := range d.stateView() {
		c := &d.stateView()[cpu]
		next := atomic.LoadUint32(&c.Generation)&1 ^ 1
		at := (cpu*2 + int(next)) * flowWords
		if atomic.LoadUint64(&c.FlowBits[next]) != 0 {
			clear(words[at : at+flowWords])
			atomic.StoreUint64(&c.FlowBits[next], 0)
		}
		atomic.StoreUint32(&c.Generation, next)
	}
}

var _ = [1]struct{}{}[int(traffic.ReasonCount)-len(weirCpu{}.Exits[0])] // the reasons of bpf/abi.h and of Go are as many
