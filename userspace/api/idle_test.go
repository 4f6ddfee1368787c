package api

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"

	"weir/userspace/api/weirpb"
	"weir/userspace/traffic"
)

// A watch in which nothing happens for longer than one message may take goes on, over every protocol.
func TestQuietWatchGoesOn(t *testing.T) {
	for name, options := range map[string][]connect.ClientOption{
		"connect": nil, "gRPC": {connect.WithGRPC()}, "gRPC-Web": {connect.WithGRPCWeb()},
	} {
		t.Run(name, func(t *testing.T) {
			var asked any
			path := filepath.Join(shortDir(t), "weir.sock")
			server, err := New(Options{Socket: path, Backend: sampleBackend(&asked), Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			server.patience = 50 * time.Millisecond
			if err := server.Listen(); err != nil {
				t.Fatal(err)
			}
			run, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- server.Run(run) }()
			defer func() {
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			client, err := Dial(ctx, path, options...)
			if err != nil {
				t.Fatal(err)
			}
			stream, err := client.WatchAttacks(ctx, connect.NewRequest(&weirpb.WatchAttacksRequest{}))
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			const id = "after the pause"
			pause := time.AfterFunc(5*server.patience, func() { server.Publish(traffic.Record{Attack: traffic.Attack{ID: id}}) })
			defer pause.Stop()
			for stream.Receive() {
				if stream.Msg().GetAttack().GetId() == id {
					return
				}
			}
			t.Errorf("the watch ended: %v", stream.Err())
		})
	}
}
