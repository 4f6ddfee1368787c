package bench

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"time"

	"weir/flowcollect"
	"weir/userspace/hosts"
	"weir/userspace/networks"
	"weir/userspace/packet"
	"weir/userspace/traffic"
)

// FlowOptions says what Flow measures.
type FlowOptions struct {
	JSON     bool
	Progress func(done, size int64) // of the rounds; nil: not shown

	Rounds  int // that count; 0: 7
	Records int // a round and protocol; 0: 300,000
}

func (o *FlowOptions) complete() {
	if o.Rounds == 0 {
		o.Rounds = 7
	}
	if o.Records == 0 {
		o.Records = 300_000
	}
}

// FlowCost is what one record of a protocol takes from the datagram to the host cell, on one core.
type FlowCost struct {
	Name        string  `json:"name"`
	PerSecond   float64 `json:"records_per_second_per_core"`
	Nanoseconds float64 `json:"ns_per_record"` // median over the rounds
	Allocations float64 `json:"allocs_per_record"`
	Floor       float64 `json:"floor_ns"` // counting the same records in host cells, without decoding
	Ratio       float64 `json:"ratio_to_floor"`
}

const (
	flowEpoch     = 1_700_000_000 // seconds since 1970: when the datagrams were exported
	flowDatagrams = 512           // different ones a protocol
	flowSpreadBy  = 100 * time.Millisecond
)

// Flow measures what flow records cost, each protocol beside the counting alone, in turns.
func Flow(ctx context.Context, o FlowOptions, out io.Writer) error {
	o.complete()
	list := Exports(flowDatagrams)
	costs := make([]FlowCost, 0, len(list))
	for i := range list {
		cost, err := measureFlow(ctx, &list[i], &o, i*o.Rounds, len(list)*o.Rounds)
		if err != nil {
			return err
		}
		costs = append(costs, cost)
	}
	if o.JSON {
		return printLine(out, struct {
			Results []FlowCost `json:"results"`
		}{costs})
	}
	if err := printf(out, "%-10s %12s %14s %16s %10s %8s\n", "protocol", "ns/record", "records/s/core", "allocs/record", "floor ns", "ratio"); err != nil {
		return err
	}
	for _, c := range costs {
		if err := printf(out, "%-10s %12.0f %14.0f %16.3f %10.0f %8.1f\n", c.Name, c.Nanoseconds, c.PerSecond, c.Allocations, c.Floor, c.Ratio); err != nil {
			return err
		}
	}
	return nil
}

// flowBed is one worker as the daemon has it: a decoder, and a writer that counts what comes out.
type flowBed struct {
	decoder *flowcollect.Decoder
	writer  *hosts.Writer
	from    netip.AddrPort
	now     time.Time
	spread  time.Time
	counted uint64 // records
	keep    []traffic.Flow
	keeping bool
}

func newFlowBed() (*flowBed, error) {
	prefix := netip.MustParsePrefix(flowNetwork)
	layout, err := networks.NewLayout([]netip.Prefix{prefix}, networks.Budget{Dense: 1 << 16})
	if err != nil {
		return nil, fmt.Errorf("lay out networks: %w", err)
	}
	b := &flowBed{
		writer: hosts.NewWriter(networks.NewDirectory(layout), layout.Slots()),
		from:   netip.MustParseAddrPort("192.0.2.1:2055"),
		now:    time.Unix(flowEpoch, 0),
	}
	b.decoder = flowcollect.NewDecoder(&flowcollect.Options{
		Frame: packet.ParseLink,
		Sink:  func(int) func(*traffic.Flow) { return b.count },
	}, 0)
	return b, nil
}

func (b *flowBed) count(f *traffic.Flow) {
	b.counted++
	b.writer.CountFlow(f)
	if b.keeping {
		kept := *f
		kept.Header = nil
		b.keep = append(b.keep, kept)
	}
}

// decode takes datagrams from a list until so many records have been asked for; time passes as at 200,000 records a second.
func (b *flowBed) decode(list [][]byte, records, perDatagram int) error {
	step := time.Duration(perDatagram) * 5 * time.Microsecond
	for sent, i := 0, 0; sent < records; sent, i = sent+perDatagram, i+1 {
		if err := b.decoder.Datagram(b.from, list[i%len(list)], b.now); err != nil {
			return fmt.Errorf("decode a datagram of the bench: %w", err)
		}
		b.pass(step)
	}
	return nil
}

// pass lets time pass for what the worker does ten times a second.
func (b *flowBed) pass(step time.Duration) {
	b.now = b.now.Add(step)
	if b.now.Sub(b.spread) >= flowSpreadBy {
		b.spread = b.now
		b.writer.Spread(b.now)
	}
}

// recount counts the same records without decoding.
func (b *flowBed) recount(records, perDatagram int) {
	step := time.Duration(perDatagram) * 5 * time.Microsecond
	for sent := 0; sent < records; sent++ {
		b.writer.CountFlow(&b.keep[sent%len(b.keep)])
		if sent%perDatagram == 0 {
			b.pass(step)
		}
	}
}

func measureFlow(ctx context.Context, s *Exported, o *FlowOptions, done, all int) (FlowCost, error) {
	bed, err := newFlowBed()
	if err != nil {
		return FlowCost{}, err
	}
	for _, d := range s.Head {
		if err := bed.decoder.Datagram(bed.from, d, bed.now); err != nil {
			return FlowCost{}, fmt.Errorf("decode a template of the bench: %w", err)
		}
	}
	bed.keeping = true
	if err := bed.decode(s.Data, len(s.Data)*s.Records, s.Records); err != nil {
		return FlowCost{}, err
	}
	bed.keeping = false
	if want := uint64(len(s.Data) * s.Records); bed.counted != want {
		return FlowCost{}, fmt.Errorf("bench flow: %d records of %s were counted of %d", bed.counted, s.Name, want)
	}
	var whole, floors, ratios []float64
	var allocated uint64
	for round := range o.Rounds {
		if err := ctx.Err(); err != nil {
			return FlowCost{}, fmt.Errorf("bench flow: %w", err)
		}
		if o.Progress != nil {
			o.Progress(int64(done+round), int64(all))
		}
		before := mallocs()
		begin := time.Now()
		if err := bed.decode(s.Data, o.Records, s.Records); err != nil {
			return FlowCost{}, err
		}
		took := float64(time.Since(begin)) / float64(o.Records)
		allocated += mallocs() - before
		begin = time.Now()
		bed.recount(o.Records, s.Records)
		floor := float64(time.Since(begin)) / float64(o.Records)
		whole, floors, ratios = append(whole, took), append(floors, floor), append(ratios, took/floor)
	}
	ns := quantile(whole, 0.5)
	return FlowCost{
		Name: s.Name, Nanoseconds: round(ns, 1), PerSecond: round(1e9/ns, 0),
		Allocations: round(float64(allocated)/float64(o.Records*o.Rounds), 4),
		Floor:       round(quantile(floors, 0.5), 1), Ratio: round(quantile(ratios, 0.5), 2),
	}, nil
}

// mallocs is how many objects the process has allocated so far.
func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}
