package daemon

import (
	"context"
	"time"

	"weir/userspace/api"
	"weir/userspace/metrics"
)

// exporters is what `weir exporters` shows.
func (e *engine) exporters(context.Context) (api.ExporterStatus, error) {
	out := api.ExporterStatus{Configured: e.flows != nil}
	if e.flows == nil {
		return out, nil
	}
	for _, x := range e.flows.collector.Exporters(time.Now()) {
		row := api.Exporter{
			Address: x.Address, Name: x.Name, Group: x.Group, Protocols: x.Sources, Datagrams: x.Datagrams, Records: x.Records,
			Packets: x.Packets, Bytes: x.Bytes, Lost: x.Lost, LostPercent: x.LostPercent,
			UnknownTemplates: x.UnknownTemplate, Templates: x.Templates, SamplingRate: x.Rate, SamplingOrigin: x.RateOrigin,
			Withheld: x.Withheld, Duplicates: x.Duplicates, Filtered: x.Filtered, Errors: x.Errors, LastError: x.LastError,
			ClockOffset: x.ClockOffset, ActiveTimeout: x.ActiveTimeout, InactiveTimeout: x.InactiveTimeout, LastSeen: x.LastSeen,
			Interfaces: x.Interfaces,
		}
		for _, p := range x.Problems {
			row.Problems = append(row.Problems, api.Problem{Sentence: p.Sentence, Remedy: p.Remedy})
		}
		out.Exporters = append(out.Exporters, row)
	}
	return out, nil
}

// flowStatus is flow collection's part of `weir status`; nil when nothing is collected.
func (e *engine) flowStatus() *api.FlowCollector {
	if e.flows == nil {
		return nil
	}
	s := e.flows.collector.Stats()
	out := &api.FlowCollector{
		Workers: s.Workers, Exporters: s.Exporters, ReceiveBuffer: s.ReceiveBuffer, ReceiveBufferAsked: s.ReceiveBufferAsked,
		Datagrams: s.Datagrams, Bytes: s.Bytes, Records: s.Records, KernelDropped: s.KernelDropped, Refused: s.Refused, OverLimit: s.OverLimit,
		Filter: e.flows.filterStatus(),
	}
	out.Listen = append(out.Listen, s.Listen...)
	for source, n := range s.Undecodable {
		if n > 0 {
			out.Undecodable = append(out.Undecodable, api.Tally{Name: source, Count: n})
		}
	}
	return out
}

// flowMetrics is flow collection as Prometheus is told of it; nil when nothing is collected.
func (e *engine) flowMetrics(now time.Time) *metrics.Flows {
	if e.flows == nil {
		return nil
	}
	s := e.flows.collector.Stats()
	out := &metrics.Flows{
		Workers: s.Workers, ReceiveBuffer: s.ReceiveBuffer, Datagrams: s.Datagrams, Bytes: s.Bytes, Records: s.Records,
		KernelDropped: s.KernelDropped, Refused: s.Refused, OverLimit: s.OverLimit, Undecodable: map[string]uint64{},
	}
	for source, n := range s.Undecodable {
		out.Undecodable[source] = n
	}
	if f := e.flows.filterStatus(); f != nil {
		out.Filter = &metrics.FlowFilter{
			Calls: f.Calls, Dropped: f.Dropped, Rescaled: f.Rescaled, Errors: f.Errors, Runaways: f.Runaways, SwitchedOff: f.SwitchedOff,
		}
	}
	for _, x := range e.flows.collector.Exporters(now) {
		out.Exporters = append(out.Exporters, metrics.Exporter{
			Address: x.Address, Name: x.Name, Datagrams: x.Datagrams, Records: x.Records, Packets: x.Packets, Bytes: x.Bytes,
			Withheld: x.Withheld, Duplicates: x.Duplicates, Filtered: x.Filtered, Lost: x.Lost, UnknownTemplates: x.UnknownTemplate,
			Errors: x.Errors, Templates: x.Templates, SamplingRate: x.Rate, SamplingOrigin: x.RateOrigin, ClockOffset: x.ClockOffset,
			ActiveTimeout: x.ActiveTimeout, InactiveTimeout: x.InactiveTimeout, LastSeen: x.LastSeen, Problems: len(x.Problems),
		})
	}
	return out
}

// filterStatus is what script and rules have done; nil when there are none.
func (s *flowSource) filterStatus() *api.FlowFilter {
	f := s.filters
	if f.rules == nil && f.script == nil {
		return nil
	}
	out := &api.FlowFilter{}
	if f.script != nil {
		t := f.script.Stats()
		*out = api.FlowFilter{
			Calls: t.Calls, Dropped: t.Dropped, Rescaled: t.Rescaled, Errors: t.Errors, Runaways: t.Runaways, LastError: t.LastError, SwitchedOff: t.SwitchedOff,
		}
	}
	return out
}
