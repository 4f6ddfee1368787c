package daemon

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/config"
	"weir/userspace/hosts"
	"weir/userspace/networks"
	"weir/userspace/traffic"
)

// workforce is the space of the workers in user space, and the writer that each of them counts with.
type workforce struct {
	space     *space
	directory *networks.Directory
	writers   []*hosts.Writer
}

func newWorkforce(cfg *config.Config, table *networks.Table, workers int, now time.Time) (*workforce, error) {
	layout, err := layoutOf(cfg, table, workers)
	if err != nil {
		return nil, err
	}
	f := &workforce{directory: networks.NewDirectory(layout)}
	var shards []hosts.Shard
	for range workers {
		w := hosts.NewWriter(f.directory, layout.Slots())
		if !cfg.Flows.Spread {
			w.SetSpreading(0)
		}
		f.writers = append(f.writers, w)
		shards = append(shards, w.Shard())
	}
	f.space = newSpace(layout, f.directory, shards, table, now)
	return f, nil
}

// with is the same workforce under another table.
func (f *workforce) with(t *networks.Table) *workforce {
	next := *f
	next.space = f.space.with(t)
	return &next
}

// worker is one goroutine that counts flow records or frames: its writer, and what it tells of itself.
type worker struct {
	writer  *hosts.Writer
	next    atomic.Pointer[handover]
	flipAt  time.Time
	recent  *recent
	records *records
	given   given // to stores of flow records

	// Frames: how they are read, how many each stands for, and the packet in hand.
	parse  parseFunc
	weight uint32
	packet traffic.Packet

	sampling, suspected uint32 // one in so many is sampled, always and while an attack is on; 0: none
	left                uint32 // until the next sample

	counted workerCounts // the worker's own
	told    atomic.Pointer[workerCounts]
}

// parseFunc is that of packet.ParseLink.
type parseFunc func(link traffic.Link, frame []byte, length uint32, p *traffic.Packet) traffic.Reason

// workerCounts is what a worker has counted of packets as a whole: what the kernel's programs count as well.
type workerCounts struct {
	exits     [3][traffic.ReasonCount]traffic.Count // by family (0: not IP, 1: IPv4, 2: IPv6) and reason
	anomalies [traffic.AnomalyCount]uint64
}

func (c *workerCounts) add(family int, reason traffic.Reason, packets, bytes uint64) {
	exit := &c.exits[family][reason]
	exit.Packets += packets
	exit.Bytes += bytes
}

// newWorker reads frames as parse does.
func newWorker(parse parseFunc, cfg *config.Config) *worker {
	w := &worker{recent: &recent{}, parse: parse, weight: 1, sampling: uint32(cfg.Sampling.Rate), suspected: uint32(cfg.Sampling.SuspectRate)}
	w.told.Store(&workerCounts{})
	return w
}

// handover tells a worker to count with another writer from now on.
type handover struct {
	writer *hosts.Writer
	find   func(netip.Prefix) (uint32, bool) // the slot by which the other writer knows a host
	done   chan struct{}                     // closed when the worker has let go of the writer before
}

// family is the index that a packet is counted by in statistics: 1 for IPv4, 2 for IPv6.
func family(p *traffic.Packet) int {
	if p.Src.Is4() {
		return 1
	}
	return 2
}

// flow counts a flow record.
func (w *worker) flow(f *traffic.Flow) {
	dir := w.writer.CountFlow(f)
	w.given.add(f)
	packets, bytes := f.Scaled()
	w.counted.add(family(&f.Packet), traffic.Reason(dir), packets, bytes)
	each := uint64(1) // while an attack is on, all are wanted: there are not many
	if !w.recent.on.Load() {
		if each = uint64(w.due()); each == 0 {
			return
		}
	}
	w.recent.add(recorded(f, uint32(min(min(max(packets, 1), math.MaxUint32)*each, math.MaxUint32))))
}

// frame counts a frame.
func (w *worker) frame(f *traffic.Frame) {
	p, weight := &w.packet, uint64(w.weight)
	if reason := w.parse(f.Link, f.Data, f.Length, p); reason != traffic.ReasonOK {
		w.counted.add(0, reason, weight, weight*uint64(f.Length))
		return
	}
	if p.Anomaly != traffic.AnomalyNone {
		w.counted.anomalies[p.Anomaly] += weight
	}
	dir, _ := w.writer.Count(p, w.weight)
	w.counted.add(family(p), traffic.Reason(dir), weight, weight*uint64(f.Length))
	if rate := w.due(); rate > 0 {
		at := time.Unix(0, f.Time)
		s, ok := analyze.Look(f.Data, f.Link, f.Length, at, rate*w.weight)
		if !ok || s.Packet != *p { // what is in a tunnel counts: no more is known of it
			s = analyze.Seen{Time: at, Packet: *p, Rate: rate * w.weight}
		}
		w.recent.add(s)
		w.records.frame(f, s.Rate, p)
	}
}

// tick does what is due: a worker calls it at least ten times a second.
func (w *worker) tick(now time.Time) {
	if h := w.next.Swap(nil); h != nil {
		h.writer.TakePending(w.writer, h.find)
		w.writer = h.writer
		close(h.done)
	}
	if !now.Before(w.flipAt) {
		w.flipAt = now.Add(secondEvery)
		w.writer.Flip()
	}
	w.writer.Spread(now)
	w.given.flush()
	told := w.counted
	w.told.Store(&told)
}

// due is how many packets or records the one in hand stands for as a sample; 0: it is none.
func (w *worker) due() uint32 {
	rate := w.sampling
	if w.recent.on.Load() {
		rate = w.suspected
	}
	if rate == 0 {
		return 0
	}
	if w.left = min(w.left, 2*rate); w.left > 1 {
		w.left--
		return 0
	}
	w.left = 1 + rand.Uint32N(2*rate-1) // periodic traffic cannot hide from it
	return rate
}

// recorded is a flow record as a sample that stands for so many packets: by the packet's own header where the exporter has sent it.
func recorded(f *traffic.Flow, rate uint32) analyze.Seen {
	at := time.Unix(0, f.End)
	if len(f.Header) > 0 {
		if s, ok := analyze.Look(f.Header, f.Link, f.Length, at, rate); ok && s.Packet.Src == f.Src && s.Packet.Dst == f.Dst {
			return s
		}
	}
	s := analyze.Seen{Time: at, Packet: f.Packet, Rate: rate, TCPAllFlags: uint16(f.TCPFlags), DSCP: f.TOS >> 2}
	if s.Packet.Length == 0 && f.Packets > 0 {
		s.Packet.Length = uint32(f.Bytes / f.Packets)
	}
	s.IPLength = uint16(min(s.Packet.Length, math.MaxUint16))
	return s
}
