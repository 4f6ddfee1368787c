package flowcollect

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestFramer(t *testing.T) {
	first, second := ipfix(0, 7, template10()), ipfix(1, 7, set(256, one{}.data(0)))
	longest := ipfix(2, 7, set(300, make([]byte, 65535-20)))
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, tt := range []struct {
		name string
		data []byte
		want [][]byte
		err  string // empty: the end between two messages
	}{
		{"nothing", nil, nil, ""},
		{"two", join(first, second), [][]byte{first, second}, ""},
		{"the longest", join(longest, first), [][]byte{longest, first}, ""},
		{"cut off in the second one's header", join(first, second[:3]), [][]byte{first}, "a message that is cut off"},
		{"cut off in its content", join(first, second[:30]), [][]byte{first}, "cut off after 30"},
		{"NetFlow v9", netflow9(1, 7, template9()), nil, "version 9"},
		{"no length", []byte{0, 10, 0, 15, 0, 0, 0, 0}, nil, "length 15"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := connected(t)
			go func() {
				for at := 0; at < len(tt.data); at += 1000 { // in pieces
					if _, err := theirs.Write(tt.data[at:min(at+1000, len(tt.data))]); err != nil {
						break
					}
				}
				theirs.Close()
			}()
			f := newFramer(ours)
			var got [][]byte
			var err error
			for err == nil {
				var m []byte
				if m, err = f.next(); err == nil {
					got = append(got, bytes.Clone(m))
				}
			}
			if tt.err == "" && err != io.EOF || tt.err != "" && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("the end is %v, want %q", err, tt.err)
			}
			if len(got) != len(tt.want) || !bytes.Equal(join(got...), join(tt.want...)) {
				t.Errorf("%d messages, want %d", len(got), len(tt.want))
			}
		})
	}
}

// connected are both ends of a connection.
func connected(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if theirs, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if ours, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	return ours, theirs
}

func dial(t *testing.T, r *running) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.addr("tcp").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func write(t *testing.T, c net.Conn, parts ...[]byte) {
	t.Helper()
	for _, p := range parts {
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
	}
}

// ended waits until the other side has closed a connection.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Fatalf("read %d bytes, error %v; want the end", n, err)
	} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Fatal("the connection is still open")
	}
}

func (r *running) exporter() ExporterState {
	all := r.Exporters(time.Now())
	if len(all) != 1 {
		return ExporterState{}
	}
	return all[0]
}

// Each connection has templates of its own, under the same number in the same domain.
func TestTCP(t *testing.T) {
	r := start(t, Options{TCP: ports("127.0.0.1:0", "[::1]:0")})
	a, b := dial(t, r), dial(t, r)
	reversed := words16(10, 2, 14, 2, 61, 1, 2, 4, 1, 4, 7, 2, 11, 2, 4, 1, 8, 4, 12, 4)
	write(t, a, ipfix(0, 7, template10()))
	write(t, b, ipfix(0, 7, set(2, words16(256, fieldCount), reversed)))
	plainRecord, o := one{packets: 5}.data(0), one{packets: 5}.data(0)
	other := bytes.Join([][]byte{o[21:26], o[13:21], o[8:13], o[:8]}, nil)
	data := ipfix(0, 7, set(256, plainRecord))
	write(t, a, data[:3], data[3:20], data[20:])
	write(t, b, ipfix(0, 7, set(256, other)))
	for _, s := range r.next(2) {
		if s.packets != 5 || s.exporter != addr("127.0.0.1") {
			t.Errorf("record %+v", s)
		}
	}
	r.until("4 messages are counted", func() bool { return r.exporter().Datagrams == 4 })
	if s := r.exporter(); s.Connections != 2 || s.Templates != 2 || s.TemplateChanges != 0 || s.Lost != 0 || s.Errors != 0 {
		t.Errorf("with two connections: %+v", s)
	}
	a.Close()
	r.until("one connection is over", func() bool { return r.exporter().Connections == 1 })
	if s := r.exporter(); s.Templates != 1 || s.Records != 2 {
		t.Errorf("with one connection: %+v", s)
	}
	// After a new connection, templates of the old one are not there.
	again := dial(t, r)
	write(t, again, ipfix(1, 7, set(256, plainRecord)))
	r.until("data wait for their template", func() bool { return r.exporter().UnknownTemplate == 1 })
}

func TestBadConnections(t *testing.T) {
	for _, tt := range []struct {
		name, data, want string
		errors           uint64
	}{
		{"something else", "GET / HTTP/1.1\r\nHost: here\r\n\r\n", "read IPFIX over TCP: version 18245", 1},
		{"a broken message", string(ipfix(0, 7, []byte{1, 0, 0, 3})), "byte 18", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, Options{TCP: ports("127.0.0.1:0")})
			bad, good := dial(t, r), dial(t, r)
			write(t, good, ipfix(0, 7, template10()))
			write(t, bad, []byte(tt.data))
			ended(t, bad)
			write(t, good, ipfix(0, 7, set(256, one{}.data(0))))
			r.next(1)
			if s := r.exporter(); s.Errors != tt.errors || !strings.Contains(s.LastError, tt.want) || r.Stats().Undecodable["ipfix"] != tt.errors {
				t.Errorf("%d errors, the last %q; stats %+v", s.Errors, s.LastError, r.Stats())
			}
		})
	}
}

func TestConnectionsRefused(t *testing.T) {
	r := start(t, Options{TCP: ports("127.0.0.1:0"), Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	ended(t, dial(t, r))
	r.until("it is counted", func() bool { return r.Stats().Refused == 1 })
	r.Reconfigure(nil, nil, nil)
	allowed := dial(t, r)
	write(t, allowed, ipfix(0, 7, template10(), set(256, one{}.data(0))))
	r.next(1)
	r.Reconfigure(nil, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, nil)
	write(t, allowed, ipfix(1, 7, set(256, one{}.data(0))))
	ended(t, allowed)
}

// One sender has so many connections and no more; those that end make room; all end with the collector.
func TestConnectionsOfSender(t *testing.T) {
	r := start(t, Options{TCP: ports("127.0.0.1:0")})
	var all []net.Conn
	for range connectionsOfSender {
		c := dial(t, r)
		write(t, c, ipfix(0, 7, template10(), set(256, one{}.data(0))))
		all = append(all, c)
	}
	r.next(connectionsOfSender)
	ended(t, dial(t, r))
	all[0].Close()
	r.until("one is over", func() bool { return r.exporter().Connections == connectionsOfSender-1 })
	r.until("there is room", func() bool {
		r.queue.mu.Lock()
		defer r.queue.mu.Unlock()
		return len(r.queue.connections) == connectionsOfSender-1
	})
	write(t, dial(t, r), ipfix(0, 7, template10(), set(256, one{}.data(0))))
	r.next(1)
	r.stop()
	ended(t, all[1])
	if s := r.exporter(); s.Connections != 0 || s.Records != connectionsOfSender+1 {
		t.Errorf("after the end: %d connections, %d records", s.Connections, s.Records)
	}
}
