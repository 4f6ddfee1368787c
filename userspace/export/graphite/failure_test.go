package graphite_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/userspace/export/graphite"
	"weir/userspace/traffic"
)

// crowd is n hosts with traffic both ways.
func crowd(n int) *traffic.Snapshot {
	s := &traffic.Snapshot{Time: at}
	a := netip.MustParseAddr("10.0.0.0")
	for i := range n {
		a = a.Next()
		s.Hosts = append(s.Hosts, traffic.HostRate{Host: netip.PrefixFrom(a, 32), TwoWay: traffic.TwoWay{
			Incoming: rate(uint64(i)+1000, uint64(i)*1000+64000, 17), Outgoing: rate(uint64(i)+1, uint64(i)*100+64, 3),
		}})
	}
	return s
}

func TestAway(t *testing.T) {
	s := open(t, graphite.Options{Address: fmt.Sprintf("127.0.0.1:%d", freePort(t))})
	err := s.Push(t.Context(), example())
	if err == nil || !strings.Contains(err.Error(), "connect to graphite at 127.0.0.1:") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Push: %v; want who refused the connection", err)
	}
	if errors.Is(err, traffic.ErrPermanent) {
		t.Error("a server that is away is taken for one that refuses the data")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestHangingServerEndsWithTheContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // nobody accepts, nobody reads
	s := open(t, graphite.Options{Address: l.Addr().String()})
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	// More than the sockets' buffers hold.
	if err := s.Push(ctx, crowd(100_000)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Push: %v; want the deadline's error", err)
	}
}

// accepting returns a server whose connections the test handles itself.
func accepting(t *testing.T) (address string, connections <-chan net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	accepted := make(chan net.Conn, 8)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	return l.Addr().String(), accepted
}

func TestServerThatClosesInTheMiddle(t *testing.T) {
	address, connections := accepting(t)
	s := open(t, graphite.Options{Address: address})
	defer s.Close()
	go func() {
		c := <-connections
		_, _ = io.CopyN(io.Discard, c, 100_000)
		_ = c.Close()
	}()
	err := s.Push(t.Context(), crowd(100_000))
	if err == nil || !strings.Contains(err.Error(), "write to graphite at "+address+" by tcp: ") {
		t.Fatalf("Push: %v; want that the writing ended", err)
	}
	// The next starts clean: with a whole line on a new connection.
	received := make(chan string)
	go func() {
		c := <-connections
		b, _ := io.ReadAll(c)
		received <- string(b)
	}()
	push(t, s, example())
	_ = s.Close()
	if got := <-received; !strings.HasPrefix(got, "fastnetmon.total.incoming.pps 1001 1763900000\n") || !strings.HasSuffix(got, "\n") {
		t.Errorf("after a broken connection the next begins with %.60q", got)
	}
}

func TestConnectionThatWasClosedWhileIdleIsOpenedAgain(t *testing.T) {
	address, connections := accepting(t)
	s := open(t, graphite.Options{Address: address, Hosts: graphite.NoHosts})
	defer s.Close()
	push(t, s, after(1))
	first := <-connections
	// A server that says something though nobody asked, and half closes: it would still take what is written, and nobody would read it.
	if _, err := first.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := first.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, first)
		_ = first.Close()
	}()
	// How soon the end is known here nobody says: the push that meets it may be told of it, those after it have a new connection.
	for n := 2; ; n++ {
		_ = s.Push(t.Context(), after(n))
		select {
		case <-ended:
			push(t, s, after(n+1))
			second := <-connections
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			b, err := io.ReadAll(second)
			if err != nil || !strings.HasPrefix(string(b), "fastnetmon.total.incoming.pps 0 ") {
				t.Errorf("on the new connection: %.60q, %v", b, err)
			}
			_ = second.Close()
			return
		default:
		}
	}
}

func TestDatagramsHoldWholeLines(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	s := open(t, graphite.Options{Address: c.LocalAddr().String(), Protocol: graphite.UDP})
	defer s.Close()
	push(t, s, crowd(100))
	count, b := 0, make([]byte, 65536)
	for count < 3*10+6*100 {
		n, _, err := c.ReadFrom(b)
		if err != nil {
			t.Fatalf("after %d lines: %v", count, err)
		}
		if n > 1400 || n < 1000 && count+strings.Count(string(b[:n]), "\n") < 630 {
			t.Errorf("a datagram of %d bytes after %d lines", n, count)
		}
		for line := range strings.Lines(string(b[:n])) {
			if len(strings.Fields(line)) != 3 || !strings.HasPrefix(line, "fastnetmon.") || !strings.HasSuffix(line, " 1763900000\n") {
				t.Errorf("line %q", line)
			}
			count++
		}
	}
}

func TestRefusedDatagramsAreAnError(t *testing.T) {
	s := open(t, graphite.Options{Address: fmt.Sprintf("127.0.0.1:%d", freePort(t)), Protocol: graphite.UDP})
	defer s.Close()
	if err := s.Push(t.Context(), crowd(1000)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Push to a port where nobody listens: %v", err)
	}
}

// BenchmarkPush100k writes 100,000 hosts with six series each to a server that throws them away.
func BenchmarkPush100k(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
	}()
	snapshot := crowd(100_000)
	for _, protocol := range []string{graphite.TCP, graphite.Pickle} {
		b.Run(protocol, func(b *testing.B) {
			s, err := graphite.New(graphite.Options{Address: l.Addr().String(), Protocol: protocol})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Push(b.Context(), snapshot); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
