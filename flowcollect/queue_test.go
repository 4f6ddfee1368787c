package flowcollect

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"weir/userspace/traffic"
)

// TestQueueReads has the queue read a plain UDP socket, as it does where there are no better ones.
func TestQueueReads(t *testing.T) {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan netip.Addr, 10)
	o := Options{Sink: func(int) func(*traffic.Flow) { return func(f *traffic.Flow) { told <- f.Exporter } }}
	d := NewDecoder(&o, 0)
	q := newQueue(&d.opts, 0, d)
	q.udp = append(q.udp, c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- q.run(ctx) }()
	to := c.LocalAddr().(*net.UDPAddr).AddrPort()
	send(t, "127.0.0.1", to, netflow5(0, 0, one{}), []byte("garbage"), netflow5(1, 0, one{}))
	for range 2 {
		select {
		case from := <-told:
			if from != addr("127.0.0.1") {
				t.Errorf("the exporter is %s", from)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("no record came")
		}
	}
	if s := d.Stats(); s.Datagrams != 3 || s.Undecodable["unknown"] != 1 {
		t.Errorf("stats %+v", s)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("the queue ends with %v", err)
	}
	if _, err := c.Write(nil); err == nil {
		t.Error("the socket is still open")
	}
}
