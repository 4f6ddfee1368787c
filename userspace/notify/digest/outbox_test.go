package digest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"weir/userspace/traffic"
)

func TestOutboxKeepsWhatWasNotSent(t *testing.T) {
	o, err := NewOutbox(Options{})
	if err != nil {
		t.Fatal(err)
	}
	away := errors.New("away")
	var sent []string
	send := func(m Message) error { sent = append(sent, m.Key+" "+m.Event.String()); return nil }
	fail := func(Message) error { return away }
	begin := []traffic.Change{change(traffic.ChangeStarted, "a", "192.0.2.7", 0, 100), change(traffic.ChangeBanned, "a", "192.0.2.7", 0, 100)}
	if err := o.Tell(at(0), begin, fail); err != nil || !o.Due().Equal(at(1)) {
		t.Fatalf("Tell with nothing due: %v, due %s", err, o.Due())
	}
	if err := o.Tell(at(1), nil, fail); !errors.Is(err, away) || o.Due().IsZero() {
		t.Fatalf("Tell gives %v, want the sender's error; due %s", err, o.Due())
	}
	if err := o.Tell(at(2), begin, send); err != nil || !o.Due().IsZero() {
		t.Fatalf("Tell gives %v, due %s", err, o.Due())
	}
	refuse := func(m Message) error {
		if m.Key == "b" {
			return fmt.Errorf("bad: %w", traffic.ErrPermanent)
		}
		return send(m)
	}
	end := []traffic.Change{change(traffic.ChangeEnded, "b", "192.0.2.8", 3, 100), change(traffic.ChangeEnded, "c", "192.0.2.9", 3, 100)}
	if err := o.Tell(at(3), end, refuse); err != nil {
		t.Fatal(err)
	}
	if err := o.Tell(at(4), nil, refuse); !errors.Is(err, traffic.ErrPermanent) {
		t.Errorf("Tell gives %v, want what was refused", err)
	}
	same(t, "sent", sent, []string{"a started", "c ended"})
	same(t, "due", o.Due(), time.Time{})
}

func TestOutboxIsBounded(t *testing.T) {
	o, err := NewOutbox(Options{Messages: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		s := float64(10 * i)
		kind := traffic.ChangeStarted
		if i%4 == 0 {
			kind = traffic.ChangeEnded
		}
		_ = o.Tell(at(s), []traffic.Change{change(kind, fmt.Sprintf("a%d", i), fmt.Sprintf("10.0.%d.1", i), s, 100)}, func(Message) error { return errors.New("away") })
	}
	ends := 0
	if err := o.Tell(at(3000), nil, func(m Message) error {
		if m.Event == Ended {
			ends++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if ends != 50 || o.Dropped() == 0 {
		t.Errorf("%d ends were kept, want all 50; %d dropped", ends, o.Dropped())
	}
}
