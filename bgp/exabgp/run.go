package exabgp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stallAfter is how long a write may wait for the reader before Stats says so.
	stallAfter = 500 * time.Millisecond
	// stopTime is how long Run goes on writing after its context has ended.
	stopTime = 2 * time.Second
)

var errGone = errors.New("the reader has closed it")

// Run feeds the pipe until ctx ends: then it writes what is due for two seconds at most and returns nil. A pipe without a reader is
// not an error: it is tried again, and whoever reads it next is written the whole set.
func (p *Pipe) Run(ctx context.Context) error {
	p.reader(false, nil)
	for {
		f, err := open(p.options.Path)
		if err == nil {
			p.reader(true, nil)
			err = p.feed(ctx, f)
			p.lost()
		}
		if ctx.Err() != nil {
			p.reader(false, nil)
			return nil
		}
		p.reader(false, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(p.options.Retry):
		}
	}
}

// reader notes whether somebody reads the pipe, and logs changes.
func (p *Pipe) reader(there bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.stats
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	if s.Since.IsZero() || s.Reader != there {
		s.Since = time.Now()
	}
	if there && !s.Reader {
		s.Readers++
		p.log.Info("pipe has a reader")
	} else if reason != "" && s.Error != reason {
		p.log.Warn("pipe has no reader", "error", err)
	}
	s.Reader, s.Error, s.Stalled = there, reason, false
}

func (p *Pipe) stalled(stalled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stalled && !p.stats.Stalled {
		p.log.Warn("reader does not read and the pipe is full")
	}
	p.stats.Stalled = stalled
}

func (p *Pipe) lost() {
	p.unsent = nil
	p.mu.Lock()
	defer p.mu.Unlock()
	p.book.lost()
}

// open opens the writing end without waiting for a reader.
func open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open ExaBGP pipe %s: it does not exist: make it by mkfifo, so that ExaBGP may read it and Weir write it", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open ExaBGP pipe: %w", err)
	}
	if info.Mode()&fs.ModeNamedPipe == 0 {
		return nil, fmt.Errorf("open ExaBGP pipe %s: it is not a named pipe: remove it, and make it by mkfifo", path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENXIO) {
		return nil, fmt.Errorf("open ExaBGP pipe %s: nobody reads it: is ExaBGP running?", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open ExaBGP pipe: %w", err)
	}
	return f, nil
}

// feed writes what becomes due until the reader is gone, which it returns as an error, or ctx ends. It closes f.
func (p *Pipe) feed(ctx context.Context, f *os.File) (err error) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		waitNoReader(f)
	}()
	defer func() {
		err = errors.Join(err, f.Close()) // which ends the wait
		<-gone
	}()
	refresh := make(<-chan time.Time)
	if p.options.Refresh > 0 {
		ticker := time.NewTicker(p.options.Refresh)
		defer ticker.Stop()
		refresh = ticker.C
	}
	for ctx.Err() == nil {
		wrote, err := p.write(f, time.Now().Add(stallAfter))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.stalled(true)
			continue
		case err != nil:
			return fmt.Errorf("write ExaBGP pipe %s: %w", p.options.Path, err)
		case wrote:
			p.stalled(false)
			continue
		}
		select {
		case <-ctx.Done():
		case <-gone:
			return fmt.Errorf("write ExaBGP pipe %s: %w", p.options.Path, errGone)
		case <-p.wake:
		case <-refresh:
			p.mu.Lock()
			p.book.refresh()
			p.mu.Unlock()
		}
	}
	return p.finish(f)
}

// finish writes what is due at the end.
func (p *Pipe) finish(f *os.File) error {
	if p.options.WithdrawAtStop {
		p.Apply(nil)
	}
	deadline := time.Now().Add(stopTime)
	for {
		wrote, err := p.write(f, deadline)
		if err != nil {
			p.log.Warn("not everything was written before the end", "error", err)
			return nil
		}
		if !wrote {
			return nil
		}
	}
}

// write writes some lines, and reports false when there are none to be written. The kernel takes them as a whole or not at all: a
// deadline that passes leaves nothing half written. A reader that has gone is an error (EPIPE), and no signal: Go keeps SIGPIPE
// for standard output and standard error.
func (p *Pipe) write(f *os.File, deadline time.Time) (bool, error) {
	if len(p.unsent) == 0 {
		p.unsent = p.take()
	}
	if len(p.unsent) == 0 {
		return false, nil
	}
	if err := f.SetWriteDeadline(deadline); err != nil {
		return false, err
	}
	n, err := f.Write(p.unsent)
	p.unsent = p.unsent[n:]
	return true, err
}

// waitNoReader returns when the pipe has no reader any more, or is closed. A writing end never becomes readable: what ends the
// wait is the error that poll(2) reports there.
func waitNoReader(f *os.File) {
	conn, err := f.SyscallConn()
	if err != nil {
		return // closed
	}
	// Its only error is that the file is closed.
	_ = conn.Read(func(fd uintptr) bool {
		state := []unix.PollFd{{Fd: int32(fd)}}
		_, err := unix.Poll(state, 0)
		return err == nil && state[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
	})
}
