package replay

import (
	"slices"
	"time"

	"weir/userspace/traffic"
)

// inquirySpan is how long packets of an attack are gathered before it is told what it is.
const inquirySpan = 500 * time.Millisecond

// inquiry is an attack that is looked into.
type inquiry struct {
	target traffic.Target
	at     time.Time // when enough was gathered
}

// inquire tells what the attacks are that have been gathered for long enough.
func (r *replay) inquire(now time.Time) error {
	var err error
	r.open = slices.DeleteFunc(r.open, func(i inquiry) bool {
		if err != nil || now.Before(i.at) {
			return false
		}
		if c, ok := r.book.Open(i.target); ok {
			err = r.print.analysis(i.target, c.Analyze(now))
		}
		r.book.Forget(i.target)
		return true
	})
	return err
}
