//go:build !linux

package flowcollect

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
)

// udpWorker is Linux's: elsewhere all sockets feed the queue's worker.
type udpWorker struct{ dropped atomic.Uint64 }

func (*udpWorker) run(context.Context) error { return nil }
func (*udpWorker) close() error              { return nil }

func socketWorkers(*Options) int { return 0 }

func needsQueue(*Options) bool { return true }

func (c *Collector) open(ctx context.Context) error {
	if c.opts.Namespace != nil {
		return errors.New("collect flows: network namespaces need Linux")
	}
	c.queue = newQueue(&c.opts, 0, c.decoders[0])
	for at, address := range c.opts.Listen {
		l, err := (&net.ListenConfig{}).ListenPacket(ctx, network("udp", c.opts.Listen, at), address.String())
		if err != nil {
			return explainListen("udp", address, err)
		}
		udp := l.(*net.UDPConn)
		c.queue.udp = append(c.queue.udp, udp)
		c.addrs = append(c.addrs, "udp "+udp.LocalAddr().String())
		if err := udp.SetReadBuffer(c.opts.ReceiveBuffer); err != nil {
			c.opts.Log.Warn("the receive buffer is smaller than asked for", "address", address.String(), "asked", c.opts.ReceiveBuffer, "error", err)
		} else {
			c.buffer = int64(c.opts.ReceiveBuffer)
		}
	}
	return c.openTCP(ctx)
}
