package bgp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// process is a running child.
type process struct {
	cmd   *exec.Cmd
	conn  net.Conn
	said  chan string // what the child has written last that is no log line, once it has closed its error stream
	ended chan error  // how it ended
}

const (
	lastWords     = 4 << 10 // bytes kept of what is no log line: the beginning of a stack trace has the cause
	logLines      = 50      // of a child that are passed on per second
	longestLine   = 64 << 10
	readingPeriod = time.Second
)

func startProcess(o Options, control *os.File, log *slog.Logger) (*process, error) {
	errors, stderr, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	cmd := exec.Command(o.Executable, o.Arguments...)
	cmd.Args[0] = os.Args[0]
	cmd.Dir, cmd.Env, cmd.ExtraFiles, cmd.Stderr = "/", []string{}, []*os.File{control}, stderr
	err = launch(cmd, o.Namespace)
	if closeErr := stderr.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = errors.Close()
		return nil, err
	}
	p := &process{cmd: cmd, said: make(chan string, 1), ended: make(chan error, 1)}
	go func() { p.said <- passOn(errors, log) }()
	go func() { p.ended <- cmd.Wait() }()
	return p, nil
}

// send gives the child an order; a child that does not read is as good as dead.
func (p *process) send(o order) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("tell the speaker: %w", err)
	}
	if err := writeFrame(p.conn, o); err != nil {
		return fmt.Errorf("tell the speaker: %w", err)
	}
	return nil
}

// stop asks the child to end by itself and gives it time for that.
func (p *process) stop(keep bool) {
	if p.send(order{Stop: &stop{Withdraw: !keep}}) != nil {
		return
	}
	select {
	case err := <-p.ended:
		p.ended <- err
	case <-time.After(exitTimeout):
	}
}

// end makes sure that the child is gone, and returns why it ended if not by order.
func (p *process) end() error {
	_ = p.conn.Close()       // fails only when it is closed
	_ = p.cmd.Process.Kill() // fails only when it has ended
	err := <-p.ended
	said := <-p.said
	var exit *exec.ExitError
	if errors.As(err, &exit) && said != "" {
		first, _, _ := strings.Cut(said, "\n")
		return fmt.Errorf("the speaker ended: %w: %s", err, first)
	}
	if err != nil {
		return fmt.Errorf("the speaker ended: %w", err)
	}
	return nil
}

// passOn passes the child's log on until the stream ends, and returns what else it has written.
func passOn(stream io.ReadCloser, log *slog.Logger) (rest string) {
	defer func() { _ = stream.Close() }() // read to its end
	var words strings.Builder
	in := bufio.NewReaderSize(stream, longestLine)
	var second time.Time
	lines, lost := 0, 0
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 && now(&second) {
			if lost > 0 {
				log.Warn("the speaker logs too much: lines were left out", "lines", lost)
			}
			lines, lost = 0, 0
		}
		switch {
		case len(line) == 0:
		case line[0] != '{':
			if room := lastWords - words.Len(); room > 0 {
				words.Write(line[:min(room, len(line))])
			}
		case lines >= logLines:
			lost++
		default:
			lines++
			relog(line, log)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if words.Len() > 0 {
				log.Error("the speaker has crashed", "output", words.String())
			}
			return words.String()
		}
	}
}

// now reports whether a new second has begun.
func now(second *time.Time) bool {
	t := time.Now()
	if t.Sub(*second) < readingPeriod {
		return false
	}
	*second = t
	return true
}

// relog writes a line of JSON that slog has written in the child into the parent's log. One that cannot be read is not worth a failure.
func relog(line []byte, log *slog.Logger) {
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if d.Decode(&fields) != nil {
		return
	}
	var level slog.Level
	text, _ := fields[slog.LevelKey].(string)
	if level.UnmarshalText([]byte(text)) != nil || !log.Enabled(context.Background(), level) {
		return
	}
	message, _ := fields[slog.MessageKey].(string)
	r := slog.NewRecord(time.Now(), level, message, 0)
	for k, v := range fields {
		if k != slog.TimeKey && k != slog.LevelKey && k != slog.MessageKey {
			r.AddAttrs(slog.Any(k, v))
		}
	}
	_ = log.Handler().Handle(context.Background(), r) // there is nobody to tell
}
