package api

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"connectrpc.com/connect"

	"weir/userspace/api/weirpb"
)

// A client that does not read must hold up neither the daemon that publishes nor anybody else, and learns what it has missed.
func TestSlowWatcher(t *testing.T) {
	var asked any
	server, path := serve(t, sampleBackend(&asked))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	slow, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := slow.WatchAttacks(ctx, connect.NewRequest(&weirpb.WatchAttacksRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	published := uint64(0)
	for server.Stats().Missed == 0 {
		if ctx.Err() != nil {
			t.Fatal("no change was ever missed")
		}
		server.Publish(sampleAttack())
		published++
	}
	other, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Status(ctx, connect.NewRequest(&weirpb.StatusRequest{})); err != nil {
		t.Fatalf("another client beside a slow one: %v", err)
	}
	received, missed := uint64(0), uint64(0)
	stream.Receive() // the attack that was active before
	for received+missed < published && stream.Receive() {
		received, missed = received+1, missed+stream.Msg().GetMissed()
		if missed == 0 && received+server.Stats().Missed == published {
			server.Publish(sampleAttack()) // carries the number of the missed ones
			published++
		}
	}
	if received+missed != published || missed == 0 || missed != server.Stats().Missed {
		t.Errorf("received %d, missed %d of %d published; server counted %d missed: %v", received, missed, published, server.Stats().Missed, stream.Err())
	}
}

func TestTooManyWatchers(t *testing.T) {
	f := newFeed()
	for range maxWatchers {
		if _, err := f.join(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.join(); err == nil {
		t.Error("one watcher too many was let in")
	}
}

func TestStopEndsWatches(t *testing.T) {
	var asked any
	path := filepath.Join(shortDir(t), "weir.sock")
	server, err := New(Options{Socket: path, Backend: sampleBackend(&asked), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	run, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(run) }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client, err := Dial(ctx, path, connect.WithGRPC())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := client.WatchAttacks(ctx, connect.NewRequest(&weirpb.WatchAttacksRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	stop()
	for stream.Receive() {
	}
	if connect.CodeOf(stream.Err()) != connect.CodeUnavailable {
		t.Errorf("stream ended with %v", stream.Err())
	}
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket after the stop: %v", err)
	}
}
