package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"weir/userspace/api/weirpb"
	"weir/userspace/traffic"
)

var errNoFlows = errors.New("exporters: this daemon has no part that collects flow records")

func (h *handlers) Exporters(ctx context.Context, req *connect.Request[weirpb.ExportersRequest]) (*connect.Response[weirpb.ExportersResponse], error) {
	limit, err := limitIn(req.Msg.GetLimit(), MaxRows)
	if err != nil {
		return nil, invalid(err)
	}
	if h.backend.Exporters == nil {
		return nil, answer(Unavailable(errNoFlows))
	}
	status, err := h.backend.Exporters(ctx)
	if err != nil {
		return nil, answer(err)
	}
	out := exportersOut(&status, req.Msg.GetExporter(), limit)
	if wanted := req.Msg.GetExporter(); wanted != "" && status.Configured && out.GetTotal() == 0 {
		return nil, answer(NotFound(fmt.Errorf("exporter %q: nothing was heard from it; is it in flows.allow, and does it send to this machine?", clip(wanted))))
	}
	return connect.NewResponse(out), nil
}

// exportersOut has the exporters of an address or a name, or all of them when wanted is empty.
func exportersOut(s *ExporterStatus, wanted string, limit int) *weirpb.ExportersResponse {
	out := &weirpb.ExportersResponse{Configured: s.Configured}
	for i := range s.Exporters {
		e := &s.Exporters[i]
		if wanted != "" && wanted != e.Name && !sameAddress(wanted, e) {
			continue
		}
		out.Total++
		if len(out.Exporters) < limit {
			out.Exporters = append(out.Exporters, exporterOut(e))
		}
	}
	return out
}

// sameAddress reports whether a text is an exporter's address, in whatever form it is written.
func sameAddress(text string, e *Exporter) bool {
	p, err := prefixIn("exporter", text)
	return err == nil && p.IsSingleIP() && p.Addr() == e.Address.Unmap()
}

func exporterOut(e *Exporter) *weirpb.Exporter {
	out := &weirpb.Exporter{
		Name: e.Name, Group: e.Group, Datagrams: e.Datagrams, Records: e.Records, Packets: e.Packets, Bytes: e.Bytes,
		Lost: e.Lost, LostPercent: e.LostPercent, UnknownTemplates: e.UnknownTemplates, Templates: uint64(e.Templates),
		SamplingRate: e.SamplingRate, SamplingOrigin: e.SamplingOrigin.String(), Withheld: e.Withheld, Duplicates: e.Duplicates, Filtered: e.Filtered,
		Errors: e.Errors, LastError: e.LastError, ClockOffset: durationpb.New(e.ClockOffset),
		ActiveTimeout: durationOut(e.ActiveTimeout), InactiveTimeout: durationOut(e.InactiveTimeout), LastSeen: timeOut(e.LastSeen),
	}
	if e.Address.IsValid() {
		out.Address = e.Address.Unmap().String()
	}
	if e.SamplingOrigin == traffic.RateUnknown {
		out.SamplingRate = 0
	}
	for _, p := range e.Protocols {
		out.Protocols = append(out.Protocols, p.String())
	}
	for i := range e.Interfaces {
		c := &e.Interfaces[i]
		out.Interfaces = append(out.Interfaces, &weirpb.ExporterInterface{
			Index: c.Index, Speed: c.Speed, Up: c.Up, InBytes: c.InBytes, OutBytes: c.OutBytes, InPackets: c.InPackets, OutPackets: c.OutPackets,
			InDrops: c.InDrops, OutDrops: c.OutDrops, InErrors: c.InErrors, OutErrors: c.OutErrors,
		})
	}
	for _, p := range e.Problems {
		out.Problems = append(out.Problems, &weirpb.ExporterProblem{Sentence: p.Sentence, Remedy: p.Remedy})
	}
	return out
}

// durationOut leaves out 0, which means "unknown".
func durationOut(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

func talliesOut(list []Tally) []*weirpb.Tally {
	var out []*weirpb.Tally
	for _, t := range list {
		out = append(out, &weirpb.Tally{Name: t.Name, Count: t.Count})
	}
	return out
}

func flowsOut(f *FlowCollector) *weirpb.FlowCollector {
	if f == nil {
		return nil
	}
	out := &weirpb.FlowCollector{
		Listen: f.Listen, Workers: uint32(f.Workers), Exporters: uint64(f.Exporters),
		ReceiveBuffer: uint64(f.ReceiveBuffer), ReceiveBufferAsked: uint64(f.ReceiveBufferAsked),
		Datagrams: f.Datagrams, Bytes: f.Bytes, Records: f.Records, KernelDropped: f.KernelDropped, Refused: f.Refused, OverLimit: f.OverLimit,
		Undecodable: talliesOut(f.Undecodable),
	}
	if x := f.Filter; x != nil {
		out.Filter = &weirpb.FlowFilter{
			Calls: x.Calls, Dropped: x.Dropped, Rescaled: x.Rescaled, Errors: x.Errors, Runaways: x.Runaways,
			LastError: x.LastError, SwitchedOff: x.SwitchedOff, Rules: talliesOut(x.Rules),
		}
	}
	return out
}

func captureOut(c *traffic.CaptureStats) *weirpb.Capture {
	if c == nil {
		return nil
	}
	return &weirpb.Capture{
		Workers: uint32(c.Workers), Received: c.Received, KernelDropped: c.KernelDrop, Dropped: c.Dropped, Restarts: c.Restarts, Error: c.Error,
	}
}
