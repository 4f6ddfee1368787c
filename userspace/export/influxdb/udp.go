package influxdb

import (
	"context"
	"fmt"
	"net"
	"time"
)

// datagrams sends each batch as one. That one was refused is told by a later one only, if at all.
type datagrams struct {
	address string
	conn    net.Conn // nil: not open
}

func (d *datagrams) send(ctx context.Context, lines []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.conn == nil {
		conn, err := (&net.Dialer{}).DialContext(ctx, "udp", d.address)
		if err != nil {
			return fmt.Errorf("open socket: %w", err)
		}
		d.conn = conn
	}
	stop := context.AfterFunc(ctx, interrupt(d.conn))
	_, err := d.conn.Write(lines)
	if !stop() || err != nil {
		d.close()
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("send datagram of %d bytes: %w; check that InfluxDB's [[udp]] is enabled there", len(lines), err)
	}
	return nil
}

// interrupt ends a write that is under way.
func interrupt(conn net.Conn) func() {
	return func() {
		// An error means that the socket is closed, and so is the write.
		_ = conn.SetWriteDeadline(time.Unix(1, 0))
	}
}

func (d *datagrams) close() {
	if d.conn == nil {
		return
	}
	// Nothing that was written waits for this.
	_ = d.conn.Close()
	d.conn = nil
}
