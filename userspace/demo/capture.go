package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"weir/userspace/lab"
	"weir/userspace/packet"
	"weir/userspace/traffic"
)

const (
	captureAttackPPS   = 200_000
	captureOrdinaryPPS = 200 // requests a second to each of the two addresses
	captureVariants    = 4096
	measureEvery       = 25 // readings
)

// capture is the user-space story: frames that are made up, parsed, counted, judged and dropped, 10 ms of them at a time.
type capture struct {
	scene    scene
	teller   *teller
	story    story
	engine   *engine
	clock    time.Time
	flood    [][]byte
	ordinary [2][]byte // to the victim and its neighbour
	next     int       // of flood

	sent, leaked    uint64
	served, refused [2]uint64 // as in ordinary
	attacking       bool
	neighbourDuring [2]uint64 // served and refused while attacked
	lastCounts      traffic.Counts
}

// playCapture tells the story without the kernel. It takes as long as the machine needs for the packets, which is less than they span.
func playCapture(ctx context.Context, t *teller) (Summary, error) {
	c, err := newCapture(t)
	if err != nil {
		return Summary{}, fmt.Errorf("set up demo: %w", err)
	}
	t.say("setup", "a capture of ordinary requests to %s and %s, and %s of UDP from spoofed addresses to %s in the middle of it",
		c.scene.victim, c.scene.neighbour, rate(captureAttackPPS), c.scene.victim)
	if err := c.play(ctx, calmTime, func() bool { return false }); err != nil {
		return Summary{}, err
	}
	c.attacking, c.story.first = true, c.clock
	t.say("attack", "the flood begins")
	before := [2]uint64{c.served[1], c.refused[1]}
	if err := c.play(ctx, attackTime, func() bool { return false }); err != nil {
		return Summary{}, err
	}
	c.neighbourDuring = [2]uint64{c.served[1] - before[0], c.refused[1] - before[1]}
	c.attacking = false
	t.say("attack_stopped", "the flood stops; %d of its %d packets leaked to the victim", c.leaked, c.sent)
	if err := c.play(ctx, patience, func() bool { return c.story.told[turnReleased] }); err != nil {
		return Summary{}, err
	}
	after := c.served[0]
	if err := c.play(ctx, afterTime, func() bool { return false }); err != nil {
		return Summary{}, err
	}
	ok := share(c.neighbourDuring[0], c.neighbourDuring[1]) >= servedShare && c.served[0] > after
	return c.story.summary(c.sent, c.leaked, float64(c.sent)/attackTime.Seconds(), ok), nil
}

// share is the part of ok in all; 0 when there was nothing at all.
func share(ok, failed uint64) float64 {
	if ok+failed == 0 {
		return 0
	}
	return float64(ok) / float64(ok+failed)
}

func newCapture(t *teller) (*capture, error) {
	s := newScene()
	c := &capture{scene: s, teller: t, story: story{teller: t, scene: s}, clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	if err := c.makeFrames(); err != nil {
		return nil, err
	}
	t.follow(func() time.Time { return c.clock })
	var err error
	c.engine, err = newEngine(s, c.clock)
	return c, err
}

func (c *capture) makeFrames() error {
	for i, to := range []netip.Addr{c.scene.victim, c.scene.neighbour} {
		request := lab.Frame{Src: c.scene.outside, Dst: to, Protocol: traffic.ProtoTCP, SrcPort: 40000, DstPort: servicePort, TCPFlags: traffic.FlagACK, Length: 400}
		frame, err := request.Bytes()
		if err != nil {
			return err
		}
		c.ordinary[i] = frame
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range captureVariants {
		frame, err := c.scene.floodFrame(random.Uint32()).Bytes()
		if err != nil {
			return err
		}
		c.flood = append(c.flood, frame)
	}
	return nil
}

// floodFrame is a packet of the flood; the number chooses where it pretends to come from.
func (s *scene) floodFrame(number uint32) *lab.Frame {
	from := s.spoofed.Addr().As4()
	from[1] |= byte(number >> 16 & 1)
	from[2], from[3] = byte(number>>8), byte(number)
	return &lab.Frame{
		Src: netip.AddrFrom4(from), Dst: s.victim, Protocol: traffic.ProtoUDP,
		SrcPort: uint16(number>>17) | 1, DstPort: floodPort,
	}
}

// play lets the capture go on for the given time, or until done.
func (c *capture) play(ctx context.Context, duration time.Duration, done func() bool) error {
	for i := range int(duration / readInterval) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if done() {
			return nil
		}
		c.engine.writer.SetClock(c.clock)
		c.interval()
		c.clock = c.clock.Add(readInterval)
		turns, err := c.engine.step(c.clock)
		if err != nil {
			return err
		}
		c.story.take(turns...)
		if i%measureEvery == measureEvery-1 {
			c.measure(measureEvery * readInterval)
		}
	}
	return nil
}

// interval is the traffic between two readings.
func (c *capture) interval() {
	perInterval := func(pps int) int { return pps * int(readInterval/time.Millisecond) / 1000 }
	for range perInterval(captureOrdinaryPPS) {
		for i, frame := range c.ordinary {
			if c.forward(frame) {
				c.served[i]++
			} else {
				c.refused[i]++
			}
		}
	}
	if !c.attacking {
		return
	}
	for range perInterval(captureAttackPPS) {
		c.sent++
		if c.forward(c.flood[c.next]) {
			c.leaked++
		}
		c.next = (c.next + 1) % len(c.flood)
	}
}

// forward is one packet's way: parsed, counted for its host, and dropped or not.
func (c *capture) forward(frame []byte) bool {
	var p traffic.Packet
	if packet.Parse(frame, uint32(len(frame)), &p) != traffic.ReasonOK {
		return true // what cannot be read is passed on
	}
	_, drop := c.engine.writer.Count(&p, 1)
	return !drop
}

func (c *capture) measure(span time.Duration) {
	counts := c.engine.received(c.scene.victim)
	change := counts
	change.Sub(&c.lastCounts)
	c.lastCounts = counts
	c.teller.measured(measurement{
		IncomingPPS: float64(change.Total.Packets) / span.Seconds(), DroppedPPS: float64(change.Dropped.Packets) / span.Seconds(), Leaked: c.leaked,
		VictimOK: c.served[0], VictimFailed: c.refused[0], NeighbourOK: c.served[1], NeighbourFailed: c.refused[1],
	})
}
