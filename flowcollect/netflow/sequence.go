package netflow

// sequence tells from the numbers of datagrams what was lost. What the number counts is fixed for each protocol: flows (v5, v7),
// datagrams (v9), data records (IPFIX). But there are exporters that count the other of the two, so it is learnt where it shows.
type sequence struct {
	datagrams uint64
	lost      uint64 // by gaps, in the exporter's own unit
	restarts  uint64 // the sequence began anew

	begun    bool
	next     uint32 // the number that comes next
	last     uint32 // the number of the last datagram,
	other    uint32 // and by how much it grows if the exporter counts the other unit
	swapped  bool   // it does
	evidence int    // for that, against what is thought now: datagrams in a row
	disputed uint64 // of lost: what is no loss if the evidence is right
}

const (
	gapMost      = 1 << 20 // beyond, the exporter has begun anew
	lateMost     = 1 << 10 // behind by no more, a datagram was overtaken by others
	evidenceMost = 8
)

// unknown is how many records a datagram has of which nobody can say it.
const unknown = -1

// follow takes the number of a datagram. It has units by the protocol's own way of counting, and others by the other one.
func (q *sequence) follow(number uint32, ours, theirs int) {
	q.datagrams++
	if q.swapped {
		ours, theirs = theirs, ours
	}
	q.step(number, uint32(max(ours, 0)), uint32(max(theirs, 0)))
	if ours == unknown {
		q.unsure()
	}
}

func (q *sequence) step(number, units, others uint32) {
	if !q.begun {
		q.begin(number, units, others)
		return
	}
	gap := number - q.next
	q.learn(number, gap)
	switch {
	case gap == 0:
	case gap < gapMost:
		q.lost += uint64(gap)
		if q.evidence > 0 {
			q.disputed += uint64(gap)
		}
	case -gap < lateMost && q.evidence == 0: // what was taken for lost is here
		q.lost -= min(q.lost, uint64(units))
		return
	case -gap >= lateMost:
		q.restarts++
		q.evidence, q.disputed = 0, 0
	}
	if q.evidence == evidenceMost {
		q.swapped, q.evidence = !q.swapped, 0
		q.lost -= q.disputed
		q.disputed = 0
		units, others = others, units
	}
	q.begin(number, units, others)
}

// learn holds a number against both ways of counting.
func (q *sequence) learn(number, gap uint32) {
	switch {
	case gap == 0 && number-q.last != q.other:
		q.evidence, q.disputed = 0, 0
	case gap != 0 && q.other > 0 && number-q.last == q.other:
		q.evidence++
	}
}

func (q *sequence) begin(number, units, others uint32) {
	q.begun, q.next, q.last, q.other = true, number+units, number, others
}

// restarted is told when the exporter has begun anew, whatever its number is.
func (q *sequence) restarted() {
	if q.begun {
		q.restarts++
	}
	q.unsure()
}

// unsure is told when nobody can say what the next number is.
func (q *sequence) unsure() { q.begun, q.evidence, q.disputed = false, 0, 0 }
