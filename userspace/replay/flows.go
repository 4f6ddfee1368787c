package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"weir/flowcollect"
	"weir/userspace/capture/pcapfile"
	"weir/userspace/traffic"
)

// FlowSummary is what the exporters' datagrams in a capture held.
type FlowSummary struct {
	Datagrams       uint64            `json:"datagrams"`
	Records         uint64            `json:"records"`
	Packets         uint64            `json:"packets"` // multiplied by their sampling rates, where those are known
	Bytes           uint64            `json:"bytes"`
	SampledPackets  uint64            `json:"sampled_packets"` // as the exporters saw them
	Templates       int               `json:"templates"`
	UnknownTemplate uint64            `json:"unknown_template"` // data sets whose template was not known when they came
	Errors          uint64            `json:"errors"`           // datagrams that could not be read
	Withheld        uint64            `json:"withheld"`         // records that raise no alarm: nobody says how they were sampled
	Skipped         uint64            `json:"skipped"`          // UDP datagrams of other protocols
	Protocols       map[string]uint64 `json:"protocols"`        // datagrams
	Attacks         int               `json:"attacks"`
}

// flowSummaryLine is the last line for programs.
type flowSummaryLine struct {
	Event string `json:"event"`
	FlowSummary
}

// flowReplay is a run over the datagrams of exporters.
type flowReplay struct {
	*replay  // nil: nothing is detected, because nobody has said which networks are ours
	decoder  *flowcollect.Decoder
	payloads *payloads
	print    *printer
	summary  FlowSummary
}

// runFlows replays a capture of what exporters sent.
func runFlows(ctx context.Context, o Options, out io.Writer) error {
	f := &flowReplay{payloads: newPayloads(), print: &printer{out: out, json: o.JSON}}
	f.summary.Protocols = map[string]uint64{"netflow5": 0, "netflow9": 0, "ipfix": 0, "sflow5": 0}
	options, err := o.collector()
	if err != nil {
		return err
	}
	if len(o.Networks) > 0 || o.ConfigPath != "" {
		policy, members, err := o.policy()
		if err != nil {
			return err
		}
		if f.replay, err = newReplay(policy, members, f.print); err != nil {
			return err
		}
	}
	parser, err := o.frames()
	if err != nil {
		return err
	}
	options.Frame = parser.ParseLink
	options.Sink = func(int) func(*traffic.Flow) { return f.record }
	options.Withheld = f.add
	f.decoder = flowcollect.NewDecoder(options, 0)
	capture, err := pcapfile.Open(o.File)
	if err != nil {
		return err
	}
	err = f.frames(ctx, capture, o.Progress)
	if ctx.Err() == nil {
		err = errors.Join(err, f.finish())
	}
	return errors.Join(err, capture.Close())
}

// frames reads the capture to its end.
func (f *flowReplay) frames(ctx context.Context, capture *pcapfile.Reader, progress func(done, size int64)) error {
	const often = 1024
	var frame traffic.Frame
	for n := 0; ; n++ {
		if n%often == 0 {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("replay %s: %w", capture.Name(), err)
			}
			if progress != nil {
				progress(capture.Progress())
			}
		}
		err := capture.Next(&frame)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at := time.Unix(0, frame.Time)
		if f.replay != nil {
			if err := f.advance(at); err != nil {
				return err
			}
		}
		if from, data, ok := f.payloads.of(&frame, at); ok {
			f.datagram(from, data, at)
		}
	}
}

// datagram decodes what one UDP datagram carries, if that is of an exporter.
func (f *flowReplay) datagram(from netip.AddrPort, data []byte, at time.Time) {
	source, ok := flowcollect.SourceOf(data)
	if !ok {
		f.summary.Skipped++
		return
	}
	f.summary.Datagrams++
	f.summary.Protocols[source.String()]++
	if err := f.decoder.Datagram(from, data, at); err != nil {
		f.summary.Errors++
	}
}

// record takes one record that counts.
func (f *flowReplay) record(r *traffic.Flow) {
	f.add(r)
	if f.replay != nil {
		f.writer.CountFlow(r)
	}
}

// add adds a record to the summary.
func (f *flowReplay) add(r *traffic.Flow) {
	f.summary.SampledPackets += r.Packets
	f.summary.Packets += r.Packets * uint64(r.Rate)
	f.summary.Bytes += r.Bytes * uint64(r.Rate)
}

// finish gives what was counted last the time to be read, and sums up.
func (f *flowReplay) finish() error {
	if f.replay != nil {
		if err := f.settle(); err != nil {
			return err
		}
		f.summary.Attacks = f.replay.summary.Attacks
	}
	f.summary.Records = f.decoder.Stats().Records
	for _, x := range f.decoder.Exporters(f.last()) {
		f.summary.Templates += x.Templates
		f.summary.UnknownTemplate += x.UnknownTemplate
		f.summary.Withheld += x.Withheld
	}
	if f.print.json {
		return f.print.object(flowSummaryLine{"summary", f.summary})
	}
	s := &f.summary
	return f.print.text("%d datagrams, %d records: %d packets, %d bytes (seen: %d packets); templates: %d, sets without: %d; errors: %d, withheld: %d; attacks: %d\n",
		s.Datagrams, s.Records, s.Packets, s.Bytes, s.SampledPackets, s.Templates, s.UnknownTemplate, s.Errors, s.Withheld, s.Attacks)
}

// last is the capture's last moment, as far as it matters here.
func (f *flowReplay) last() time.Time {
	if f.replay != nil {
		return f.now
	}
	return f.payloads.last
}
