package loader_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"weir/userspace/lab"
)

// echo answers each line of each connection, after a greeting, as ssh has one.
func echo(t *testing.T, on *lab.Host, at string) {
	t.Helper()
	var l net.Listener
	if err := on.Do(func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", at)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := c.Write([]byte("hello\n")); err != nil {
					return
				}
				for lines := bufio.NewScanner(c); lines.Scan(); {
					if _, err := c.Write(append(lines.Bytes(), '\n')); err != nil {
						return
					}
				}
			}()
		}
	}()
	t.Cleanup(func() { l.Close() })
}

// talk is a connection and its greeting; by is the address that it comes from, "" is any.
func talk(t *testing.T, from *lab.Host, by, to string) (*conversation, error) {
	t.Helper()
	c := &conversation{}
	err := from.Do(func() (err error) {
		d := net.Dialer{Timeout: connectTime, LocalAddr: &net.TCPAddr{IP: net.ParseIP(by)}}
		c.Conn, err = d.DialContext(context.Background(), "tcp", to)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	c.lines = bufio.NewScanner(c)
	return c, c.expect("hello")
}

type conversation struct {
	net.Conn
	lines *bufio.Scanner
}

func (c *conversation) expect(line string) error {
	if err := c.SetReadDeadline(time.Now().Add(connectTime)); err != nil {
		return err
	}
	if !c.lines.Scan() || c.lines.Text() != line {
		return fmt.Errorf("got %q, %w; want %q", c.lines.Text(), c.lines.Err(), line)
	}
	return nil
}

// say has a line come back.
func (c *conversation) say(line string) error {
	if _, err := c.Write([]byte(line + "\n")); err != nil {
		return err
	}
	return c.expect(line)
}
