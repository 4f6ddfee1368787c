package sflow

// sequence follows a number that an exporter raises by one each time, modulo 2^32.
type sequence struct {
	begun      bool
	next       uint32
	window     uint64 // which of the 64 numbers before next have come; the lowest bit is the newest
	lost       uint64 // numbers that have not come
	late       uint64 // numbers that came after higher ones; no longer lost
	duplicates uint64
	restarts   uint64
}

// Beyond so large a gap, forwards or backwards, nothing was lost: the exporter counts anew.
const (
	gapMost  = 1 << 20
	backMost = 64
)

// take takes the next number that has come, and reports whether counting began with it.
func (q *sequence) take(n uint32) (began bool) {
	switch gap, back := n-q.next, q.next-1-n; {
	case !q.begun:
		q.begin(n)
		return true
	case gap == 0:
		q.window = q.window<<1 | 1
		q.next = n + 1
	case gap < gapMost:
		q.lost += uint64(gap)
		q.window = q.window<<(gap+1) | 1 // nothing is left of the window when it moves by 64 or more
		q.next = n + 1
	case back >= backMost:
		q.restart()
		q.begin(n)
		return true
	case q.window&(1<<back) != 0:
		q.duplicates++
	default:
		q.window |= 1 << back
		q.late++
		q.lost -= min(q.lost, 1)
	}
	return false
}

// restart says that the exporter counts anew, whatever its next number is.
func (q *sequence) restart() {
	q.restarts++
	q.begun = false
}

// begin expects what follows n. What came before is nobody's loss.
func (q *sequence) begin(n uint32) {
	q.begun, q.next, q.window = true, n+1, ^uint64(0)
}
