package loader

import (
	"errors"
	"fmt"
	"strings"
)

// syncPairs sets the pairs of wires whose two sides are attached and clears all others.
//
// A wire fails closed: there is no hardware bypass, and frames that arrive at one side while the other is missing have
// nowhere to go. They are dropped and counted as such until the other side is back.
func (a *Attacher) syncPairs() error {
	byName := make(map[string]*attachment, len(a.attachments))
	for _, t := range a.attachments {
		if t.conf.Role == Wire && t.status.Attached {
			byName[t.conf.Name] = t
		}
	}
	var failed []error
	want := make(map[int]int)
	for _, t := range a.attachments {
		pair := byName[t.conf.Pair]
		if byName[t.conf.Name] != t || pair == nil {
			continue
		}
		if err := a.level(t, pair); err != nil {
			failed = append(failed, err)
			continue
		}
		if strings.HasPrefix(t.status.Error, notJoined) {
			t.status.Error = ""
			a.report(t)
		}
		want[t.status.Index] = pair.status.Index
	}
	for index, pair := range a.pairs {
		if want[index] == pair {
			continue
		}
		if err := a.set.ClearPair(index); err != nil {
			failed = append(failed, fmt.Errorf("clear pair of interface %d: %w", index, err))
		}
		delete(a.pairs, index)
	}
	for index, pair := range want {
		if a.pairs[index] == pair {
			continue
		}
		if err := a.set.SetPair(index, pair); err != nil {
			failed = append(failed, fmt.Errorf("pair interface %d with %d: %w", index, pair, err))
			continue
		}
		a.pairs[index] = pair
	}
	return errors.Join(failed...)
}

// part clears the pair of an interface in both directions. Unlike syncPairs it may run on any thread.
func (a *Attacher) part(index int) {
	pair, paired := a.pairs[index]
	if !paired {
		return
	}
	for _, side := range []int{index, pair} {
		if err := a.set.ClearPair(side); err != nil {
			a.log.Error("pair not cleared", "index", side, "error", err)
		}
		delete(a.pairs, side)
	}
}

// pairsAfterChange is syncPairs where nobody waits for the error.
func (a *Attacher) pairsAfterChange() {
	if err := a.syncPairs(); err != nil {
		a.log.Error("wire not joined", "error", err)
	}
}

func (a *Attacher) clearPairs() error {
	var failed []error
	for index := range a.pairs {
		if err := a.set.ClearPair(index); err != nil {
			failed = append(failed, fmt.Errorf("clear pair of interface %d: %w", index, err))
		}
	}
	clear(a.pairs)
	return errors.Join(failed...)
}

// notJoined begins the error of a wire whose sides are in place but do not fit together.
const notJoined = "join wire "

// level brings t into generic mode when its pair had to take it: a frame in native mode leaves only by a driver that has
// native mode too. An interface configured as native is not touched; that is an error.
func (a *Attacher) level(t, pair *attachment) error {
	if t.status.Mode != Native || pair.status.Mode != Generic {
		return nil
	}
	if t.conf.Mode == Native {
		err := fmt.Errorf(notJoined+"%q with %q: a native side cannot transmit by a generic one (%s); set mode auto or generic for %q",
			t.conf.Name, pair.conf.Name, pair.status.Why, t.conf.Name)
		t.status.Error = err.Error()
		return err
	}
	device, err := a.device(t.conf.Name)
	if err != nil {
		return err
	}
	program, err := a.set.XDP(Wire)
	if err != nil {
		return fmt.Errorf("get the XDP program of role %v: %w", Wire, err)
	}
	err = t.unlink()
	if err == nil {
		why := fmt.Sprintf("generic: a native side cannot transmit by its pair %s, which is generic", pair.conf.Name)
		err = t.try(device, program, Generic, why)
	}
	if err == nil {
		err = a.pinLink(t)
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("bring %q into generic mode: %w", t.conf.Name, err), a.release(t, false))
		t.status.Error = err.Error()
		return err
	}
	t.status.Adopted = false
	a.log.Info("mode lowered to the pair's", "interface", t.conf.Name, "why", t.status.Why)
	a.report(t)
	return nil
}
