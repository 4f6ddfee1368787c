package bgp

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Parent and child talk over one socket: four octets of length, most significant first, then JSON.

// order is what the parent sends: first a configuration, then batches, then perhaps an end.
type order struct {
	Config *Config `json:"config,omitempty"`
	Batch  *batch  `json:"batch,omitempty"`
	Stop   *stop   `json:"stop,omitempty"`
}

// batch is a number of changes. Each route is in it once, however many peers are told of it.
type batch struct {
	Routes     []*route   `json:"routes,omitempty"`
	Operations []numbered `json:"operations,omitempty"`
	Complete   bool       `json:"complete"` // all that is wanted has been sent: sessions may begin
}

// numbered is an operation whose route is in the batch.
type numbered struct {
	Sequence uint64 `json:"s"`
	Peer     int    `json:"p"`
	Route    int    `json:"r,omitempty"` // index in Routes plus 1
	Withdraw string `json:"w,omitempty"`
}

// stop ends the child.
type stop struct {
	Withdraw bool `json:"withdraw"` // take everything back from the peers first; false: hang up, so that they keep it
}

// report is what the child sends, several times a second: that it comes at all is the heartbeat.
type report struct {
	Error string       `json:"error,omitempty"` // what the child as a whole cannot do
	Peers []peerReport `json:"peers"`
}

type peerReport struct {
	State    PeerState   `json:"state"` // without names and routes: the parent has those
	Done     uint64      `json:"done"`  // sequence up to which the peer's operations are done
	Rejected []rejection `json:"rejected,omitempty"`
}

// rejection is an operation that GoBGP has refused.
type rejection struct {
	ID       string `json:"id"`
	Sequence uint64 `json:"sequence"`
	Why      string `json:"why"`
}

const (
	batchOperations = 2000 // at most: the child goes on reporting between two batches
	frameBytes      = 64 << 20
)

// batches packs operations; the last batch is the complete one. There is at least one.
func batches(operations []operation) []batch {
	var all []batch
	for len(operations) > batchOperations {
		all = append(all, pack(operations[:batchOperations]))
		operations = operations[batchOperations:]
	}
	last := pack(operations)
	last.Complete = true
	return append(all, last)
}

func pack(operations []operation) batch {
	b := batch{Operations: make([]numbered, 0, len(operations))}
	index := map[*route]int{}
	for _, o := range operations {
		n := numbered{Sequence: o.Sequence, Peer: o.Peer, Withdraw: o.Withdraw}
		if o.Route != nil {
			at, known := index[o.Route]
			if !known {
				b.Routes = append(b.Routes, o.Route)
				at = len(b.Routes)
				index[o.Route] = at
			}
			n.Route = at
		}
		b.Operations = append(b.Operations, n)
	}
	return b
}

// unpack is the inverse of pack.
func (b *batch) unpack(peers int) ([]operation, error) {
	all := make([]operation, 0, len(b.Operations))
	for _, n := range b.Operations {
		if n.Peer < 0 || n.Peer >= peers || n.Route < 0 || n.Route > len(b.Routes) || (n.Route == 0) == (n.Withdraw == "") {
			return nil, fmt.Errorf("read batch: operation %d makes no sense", n.Sequence)
		}
		o := operation{Sequence: n.Sequence, Peer: n.Peer, Withdraw: n.Withdraw}
		if n.Route > 0 {
			o.Route = b.Routes[n.Route-1]
		}
		all = append(all, o)
	}
	return all, nil
}

// writeFrame sends one value by one Write.
func writeFrame(w io.Writer, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(body) > frameBytes {
		return fmt.Errorf("encode message: %d bytes are more than %d", len(body), frameBytes)
	}
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body))), body...)); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return nil
}

// readFrame reads one value; io.EOF is an end between two frames.
func readFrame(r *bufio.Reader, value any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		return fmt.Errorf("read message: %w", err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > frameBytes {
		return fmt.Errorf("read message: %d bytes are more than %d", size, frameBytes)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	if err := json.Unmarshal(body, value); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	return nil
}
