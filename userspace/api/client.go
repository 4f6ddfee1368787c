package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"weir/userspace/api/weirpb/weirpbconnect"
)

// How long a client waits for the socket to take it.
const dialTimeout = 5 * time.Second

// Dial connects to the daemon at socket, so that a daemon that is not there is told at once and in clear words.
// Without options the client speaks Connect; connect.WithGRPC and connect.WithGRPCWeb choose those.
func Dial(ctx context.Context, socket string, options ...connect.ClientOption) (weirpbconnect.WeirClient, error) {
	conn, err := dial(ctx, socket)
	if err != nil {
		return nil, err
	}
	if err := conn.Close(); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", socket, err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{
		Protocols:   protocols,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, socket) },
	}}
	return weirpbconnect.NewWeirClient(client, "http://weir", options...), nil
}

func dial(ctx context.Context, socket string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, explain(socket, err)
	}
	return conn, nil
}

// explain says what a failure to connect means for whoever typed the command, and what to do.
func explain(socket string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("connect to %s: no such file; is `weir run` running? use --socket", socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("connect to %s: nobody listens there any more; start `weir run` or use --socket", socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("connect to %s: permission denied; run as root or as a member of group weir", socket)
	}
	return fmt.Errorf("connect to %s: %w", socket, err)
}
