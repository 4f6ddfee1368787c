package plugin

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"weir/userspace/export"
	"weir/userspace/traffic"
)

func record(id string, ban traffic.Ban) traffic.Record {
	return traffic.Record{Ban: ban, Attack: traffic.Attack{
		ID: id, Target: traffic.Target{Prefix: netip.MustParsePrefix("192.0.2.9/32"), Group: "default"}, Trip: traffic.Trip{Window: time.Second},
	}}
}

func TestStreams(t *testing.T) {
	p, log, stop := start(t, testOptions(t, "follow"), nothing())
	if err := p.Tell(t.Context(), []traffic.Change{{Kind: traffic.ChangeStarted, Record: record("a", traffic.Ban{})}}); err != nil {
		t.Fatal(err)
	}
	log.until(t, "change 1 started a")
	if err := p.Tell(t.Context(), []traffic.Change{{Kind: traffic.ChangeEnded, Record: record("a", traffic.Ban{})}}); err != nil {
		t.Fatal(err)
	}
	log.until(t, "change 2 ended a")
	hosts := []traffic.HostRate{{Host: netip.MustParsePrefix("192.0.2.1/32")}, {Host: netip.MustParsePrefix("192.0.2.2/32")}}
	hosts[1].Incoming.Total.Packets = 5
	if err := p.Push(t.Context(), &traffic.Snapshot{Hosts: hosts}); err != nil {
		t.Fatal(err)
	}
	log.until(t, "snapshot 1 192.0.2.2 1 8")
	active := traffic.Ban{Since: time.Unix(1, 0), Drop: true}
	dry := active
	dry.DryRun = true
	p.SetBans([]traffic.Record{record("b", active), record("a", active), record("dry", dry), record("none", traffic.Ban{})})
	log.until(t, "bans 1 [a b]")
	p.SetBans([]traffic.Record{record("a", active), record("b", active)}) // nothing new
	p.SetBans(nil)
	log.until(t, "bans 2 []")
	stop()
	if err := p.Tell(t.Context(), make([]traffic.Change, 1)); err == nil {
		t.Error("told a plug-in that has ended")
	}
}

// A program that does not fetch is no matter to others, and its own loss is counted by its runner.
func TestTellWaitsForRoom(t *testing.T) {
	o := testOptions(t, "fine")
	o.Limits.Changes = 3
	p, log, _ := start(t, o, nothing())
	log.message(t, "plug-in is up")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := p.Tell(ctx, make([]traffic.Change, 5))
	var unsent interface{ Unsent() int }
	if !errors.As(err, &unsent) || unsent.Unsent() != 2 {
		t.Fatalf("error %v, want one with 2 unsent", err)
	}
	if s := p.Stats(); s.Waiting != 3 {
		t.Errorf("%d wait, want 3", s.Waiting)
	}
	told := make(chan error, 1)
	go func() { told <- p.Tell(t.Context(), make([]traffic.Change, 2)) }()
	if _, _, _, ok := p.changes.take(2, 0); !ok {
		t.Fatal("take refused")
	}
	if err := <-told; err != nil {
		t.Error(err)
	}
	if next, number, _, _ := p.changes.take(0, 10); len(next) != 3 || number != 3 {
		t.Errorf("%d changes from %d, want 3 from 3", len(next), number)
	}
}

// A plug-in is a sink of export: a slow one loses what its own Runner has no room for, and the Runner counts it.
func TestRunnerFeedsPlugin(t *testing.T) {
	o := testOptions(t, "follow")
	p, log, _ := start(t, o, nothing())
	runner := export.New("test", p, export.Options{}, nilLog())
	if snapshots, changes, flows := runner.Wants(); !snapshots || !changes || flows {
		t.Errorf("it wants %t, %t, %t", snapshots, changes, flows)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	runner.Tell(traffic.Change{Record: record("a", traffic.Ban{})})
	runner.Tell(traffic.Change{Kind: traffic.ChangeEnded, Record: record("a", traffic.Ban{})})
	log.until(t, "change 2 ended a")
	runner.Push(&traffic.Snapshot{Hosts: make([]traffic.HostRate, 3)})
	log.until(t, "snapshot 1")
}
