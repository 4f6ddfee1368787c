package pcapfile

import (
	"context"
	"fmt"
	"time"
)

const (
	clockTick  = 10 * time.Millisecond // while it waits, a clock tells the time this often
	clockSlack = time.Millisecond      // frames that are due so soon are not waited for
	clockJump  = time.Second           // a file's time that goes back by more was set back
)

// Clock lets a file's frames come when their own times say: frames that were captured a second apart are handed over a second apart.
type Clock struct {
	speed float64
	begun bool
	file  time.Time // the file's time when the clock was set
	real  time.Time // ours at that moment
	last  time.Time // the file's time that was waited for last
}

// NewClock makes a clock that runs speed times as fast as ours: 1 is the file's own time, 2 twice as fast. A speed of 0 or less is no clock:
// it never waits.
func NewClock(speed float64) *Clock { return &Clock{speed: speed} }

// Now is the file's time.
func (c *Clock) Now() time.Time {
	return c.file.Add(time.Duration(float64(time.Since(c.real)) * c.speed))
}

// Wait waits until it is at in the file's time. While it does, it calls tick, if there is one, with the file's time about every 10 ms. A frame
// that should have come already is not waited for, and those behind it make up for it. A file whose time is set back by more than a
// second sets the clock anew. The error is that ctx has ended.
func (c *Clock) Wait(ctx context.Context, at time.Time, tick func(now time.Time)) error {
	if c.speed <= 0 {
		return nil
	}
	switch {
	case !c.begun || at.Before(c.last.Add(-clockJump)):
		c.begun, c.file, c.real, c.last = true, at, time.Now(), at
	case at.After(c.last):
		c.last = at
	}
	for {
		left := float64(at.Sub(c.Now())) / c.speed
		if left < float64(clockSlack) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the capture's time: %w", context.Cause(ctx))
		case <-time.After(time.Duration(min(left, float64(clockTick)))):
		}
		if now := c.Now(); tick != nil && now.Before(at) {
			tick(now)
		}
	}
}
