//go:build !linux

package loader

import (
	"context"
	"errors"
	"fmt"
)

// Attacher is Linux's; elsewhere it only checks what it is given.
type Attacher struct {
	started chan struct{}
}

// NewAttacher checks its arguments as on Linux.
func NewAttacher(set ProgramSet, opts AttachOptions, interfaces []Interface) (*Attacher, error) {
	if err := errors.Join(opts.check(), checkInterfaces(interfaces)); err != nil {
		return nil, fmt.Errorf("make attacher: %w", err)
	}
	if err := set.check(interfaces); err != nil {
		return nil, fmt.Errorf("make attacher: %w", err)
	}
	return &Attacher{started: make(chan struct{})}, nil
}

// Run returns an error at once.
func (*Attacher) Run(context.Context) error {
	return fmt.Errorf("attach XDP: %w: it needs Linux; use flow collection or capture here", errors.ErrUnsupported)
}

// Started returns a channel that is never closed.
func (a *Attacher) Started() <-chan struct{} { return a.started }

// Status returns nothing.
func (*Attacher) Status() []InterfaceStatus { return nil }

// Update returns an error.
func (*Attacher) Update(context.Context, []Interface) error {
	return fmt.Errorf("update interfaces: %w: it needs Linux", errors.ErrUnsupported)
}

// Replace returns an error.
func (*Attacher) Replace(context.Context, ProgramSet) error {
	return fmt.Errorf("replace programs: %w: it needs Linux", errors.ErrUnsupported)
}
