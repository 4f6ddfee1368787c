package traffic

import "time"

// SampleBytes is how much of a sampled frame is kept.
const SampleBytes = 256

// Sample is the beginning of one sampled frame.
type Sample struct {
	Time      time.Time
	Interface int    // kernel index of the interface it came in on (or went out by), 0 when unknown
	Rate      uint32 // one packet in Rate was sampled
	Length    uint32 // frame bytes on the wire without FCS
	Data      []byte // the first bytes of the frame, at most SampleBytes; valid until the next sample is read
}
