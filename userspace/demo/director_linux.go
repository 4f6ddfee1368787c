package demo

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const measureInterval = 250 * time.Millisecond

// director plays the story's parts in their order.
type director struct {
	town     *town
	scrubber *scrubber
	teller   *teller
	story    story
	over     chan struct{} // closed when all has been told that follows the attack's end

	received, dropped uint64 // as last measured
	measured          time.Time
}

func newDirector(w *town, b *scrubber, t *teller) *director {
	return &director{town: w, scrubber: b, teller: t, story: story{teller: t, scene: w.scene, router: w.router != nil}, over: make(chan struct{})}
}

func (d *director) play(ctx context.Context) (Summary, error) {
	w := d.town
	if err := d.run(ctx, calmTime, nil); err != nil {
		return Summary{}, err
	}
	if w.serverProbe.Stats().OK == 0 || w.neighbourProbe.Stats().OK == 0 {
		return Summary{}, fmt.Errorf("no ordinary request was answered before the attack: %w", errors.Join(w.serverProbe.Stats().Last, w.neighbourProbe.Stats().Last))
	}
	before := w.neighbourProbe.Stats()
	d.teller.say("attack", "the flood begins: UDP from spoofed addresses to %s, as fast as this machine can", w.scene.victim)
	took, err := d.attack(ctx)
	if err != nil {
		return Summary{}, err
	}
	sent, err := w.flood.Sent()
	if err != nil {
		return Summary{}, err
	}
	during := w.neighbourProbe.Stats()
	d.teller.say("attack_stopped", "the flood of %d packets stops after %.1f s", sent, took.Seconds())
	if err := d.run(ctx, patience, d.over); err != nil {
		return Summary{}, err
	}
	released := w.serverProbe.Stats()
	if err := d.run(ctx, afterTime, nil); err != nil {
		return Summary{}, err
	}
	leaked, err := w.leaked()
	if err != nil {
		return Summary{}, err
	}
	ok := share(during.OK-before.OK, during.Failed-before.Failed) >= servedShare && w.serverProbe.Stats().OK > released.OK
	return d.story.summary(sent, leaked, float64(sent)/took.Seconds(), ok), nil
}

// attack floods for its time, and follows the story meanwhile.
func (d *director) attack(ctx context.Context) (took time.Duration, err error) {
	flooding, stop := context.WithTimeout(ctx, attackTime)
	defer stop()
	ended := make(chan struct{})
	var floodErr error
	go func() {
		defer close(ended)
		began := time.Now()
		_, floodErr = d.town.flood.Run(flooding, 0, 0)
		took = time.Since(began)
	}()
	err = d.run(ctx, attackTime+patience, ended)
	stop()
	<-ended
	return took, errors.Join(err, floodErr)
}

// run follows the story for the given time, or until a channel is closed.
func (d *director) run(ctx context.Context, duration time.Duration, until <-chan struct{}) error {
	end := time.NewTimer(duration)
	defer end.Stop()
	measure := time.NewTicker(measureInterval)
	defer measure.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			return nil
		case <-until:
			return nil
		case t := <-d.scrubber.turns:
			if err := d.take(t); err != nil {
				return err
			}
		case <-measure.C:
			if err := d.measure(ctx); ctx.Err() != nil {
				return ctx.Err()
			} else if err != nil {
				return err
			}
		}
	}
}

func (d *director) take(t turning) (err error) {
	if d.story.first.IsZero() {
		if d.story.first, err = d.town.flood.FirstPacket(); err != nil {
			return err
		}
	}
	before := d.story.over()
	d.story.take(t)
	if d.story.over() && !before {
		close(d.over)
	}
	return nil
}

func (d *director) measure(ctx context.Context) error {
	received, dropped, err := d.scrubber.received(ctx)
	if err != nil {
		return err
	}
	leaked, err := d.town.leaked()
	if err != nil {
		return err
	}
	now := time.Now()
	span := now.Sub(d.measured).Seconds()
	victim, neighbour := d.town.serverProbe.Stats(), d.town.neighbourProbe.Stats()
	m := measurement{
		IncomingPPS: float64(received-d.received) / span, DroppedPPS: float64(dropped-d.dropped) / span, Leaked: leaked,
		VictimOK: victim.OK, VictimFailed: victim.Failed, NeighbourOK: neighbour.OK, NeighbourFailed: neighbour.Failed,
	}
	first := d.measured.IsZero()
	d.received, d.dropped, d.measured = received, dropped, now
	if !first {
		d.teller.measured(m)
	}
	return nil
}
