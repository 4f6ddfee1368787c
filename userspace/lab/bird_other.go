//go:build !linux

package lab

import "context"

// Bird exists on Linux only.
type Bird struct{}

// StartBird returns an error.
func StartBird(*Host, string) (*Bird, error) { return nil, errUnsupported }

// Await returns an error.
func (*Bird) Await(context.Context, string) error { return errUnsupported }

// Log is empty.
func (*Bird) Log() string { return "" }

// Ask returns an error.
func (*Bird) Ask(context.Context, string) (string, error) { return "", errUnsupported }

// Close does nothing.
func (*Bird) Close() error { return nil }

// WatchRoutes returns an error.
func (*Host) WatchRoutes(context.Context) (<-chan RouteChange, error) { return nil, errUnsupported }
