package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	birdStart = 10 * time.Second // within which BIRD must have started
	birdLines = 1024             // of BIRD's log that are kept, the latest
)

// Bird is a BIRD router in a Host. Its methods are safe for concurrent use.
type Bird struct {
	folder  string // configuration and control socket
	process *os.Process
	ended   chan struct{} // closed when the process is gone and its log is complete

	mu    sync.Mutex
	lines []string
	first int           // number of lines[0]
	more  chan struct{} // closed, and made anew, with each line

	once sync.Once
	err  error // what closing returned
}

// StartBird runs BIRD 2 with a configuration and returns when it has started. It ends with Close, of its own or of the lab, and
// with this process. ErrNoBird says that it is not installed.
func StartBird(host *Host, config string) (*Bird, error) {
	// Daemons are where ordinary users often have no path to, too.
	program, err := findBird("bird", "/usr/sbin/bird", "/usr/local/sbin/bird")
	if err != nil {
		return nil, fmt.Errorf("start BIRD: %w", err)
	}
	b := &Bird{ended: make(chan struct{}), more: make(chan struct{})}
	if b.folder, err = os.MkdirTemp("", "weir-bird-"); err != nil {
		return nil, fmt.Errorf("make folder for BIRD: %w", err)
	}
	if err := b.start(host, program, config); err != nil {
		close(b.ended)
		return nil, errors.Join(fmt.Errorf("start BIRD: %w", err), os.RemoveAll(b.folder))
	}
	if !host.lab.atEnd(b.Close) {
		return nil, errors.Join(errors.New("start BIRD: the lab is closed"), b.Close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), birdStart)
	defer cancel()
	if err := b.Await(ctx, "<INFO> Started"); err != nil {
		return nil, errors.Join(fmt.Errorf("start BIRD: %w", err), b.Close())
	}
	return b, nil
}

func findBird(names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoBird
}

func (b *Bird) start(host *Host, program, config string) error {
	path := filepath.Join(b.folder, "bird.conf")
	// A configuration may hold a password.
	if err := os.WriteFile(path, []byte("log stderr all;\n"+config), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	cmd := exec.Command(program, "-f", "-c", path, "-s", b.socket(), "-P", filepath.Join(b.folder, "pid"))
	// The kernel ends BIRD when the thread that started it ends: the one below, or this process if it is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	started := make(chan error, 1)
	go func() {
		// A child is in the namespace of the thread that starts it; the thread stays until the child has ended.
		err := host.Do(func() error {
			err := cmd.Start()
			started <- err
			if err == nil {
				b.read(output)
				_ = cmd.Wait() // that it was killed; what else there is to say is in its log
				close(b.ended)
			}
			return nil
		})
		if err != nil {
			select {
			case started <- err:
			default: // it had been started, and only the way back failed: the thread is given up
			}
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	b.process = cmd.Process
	return nil
}

func (b *Bird) socket() string { return filepath.Join(b.folder, "ctl") }

// read takes the log until BIRD ends.
func (b *Bird) read(output io.Reader) {
	for lines := bufio.NewScanner(output); lines.Scan(); {
		b.mu.Lock()
		b.lines = append(b.lines, lines.Text())
		if over := len(b.lines) - birdLines; over > 0 {
			b.lines, b.first = slices.Delete(b.lines, 0, over), b.first+over
		}
		close(b.more)
		b.more = make(chan struct{})
		b.mu.Unlock()
	}
}

// Await waits for a line of BIRD's log with text in it, one that is there already included. A session says "NAME: State changed to
// up" where the configuration has `debug protocols { states }`.
func (b *Bird) Await(ctx context.Context, text string) error {
	for next := 0; ; {
		b.mu.Lock()
		unread, more := b.lines[max(min(next-b.first, len(b.lines)), 0):], b.more
		found := slices.ContainsFunc(unread, func(line string) bool { return strings.Contains(line, text) })
		next = b.first + len(b.lines)
		b.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-more:
		case <-b.ended:
			return fmt.Errorf("wait for BIRD to say %q: it has ended: %s", text, b.Log())
		case <-ctx.Done():
			return fmt.Errorf("wait for BIRD to say %q: %w; it said: %s", text, ctx.Err(), b.Log())
		}
	}
}

// Log is what BIRD has said so far, or the end of it.
func (b *Bird) Log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines, "\n")
}

// Ask sends one command, such as "show route all", and returns the reply without the protocol's codes.
func (b *Bird) Ask(ctx context.Context, command string) (reply string, err error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", b.socket())
	if err != nil {
		return "", fmt.Errorf("ask BIRD to %s: %w", command, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return "", fmt.Errorf("ask BIRD to %s: %w", command, err)
		}
	}
	in := bufio.NewReader(conn)
	if _, err := readReply(in); err != nil { // the greeting
		return "", fmt.Errorf("ask BIRD to %s: %w", command, err)
	}
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", fmt.Errorf("ask BIRD to %s: %w", command, err)
	}
	if reply, err = readReply(in); err != nil {
		return "", fmt.Errorf("ask BIRD to %s: %w", command, err)
	}
	return reply, nil
}

// Close kills BIRD and removes its files; it may be called more than once.
func (b *Bird) Close() error {
	b.once.Do(func() {
		if err := b.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			b.err = fmt.Errorf("end BIRD: %w", err)
		}
		<-b.ended
		b.err = errors.Join(b.err, os.RemoveAll(b.folder))
	})
	return b.err
}
