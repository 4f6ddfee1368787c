package metrics

import (
	"time"

	"weir/userspace/traffic"
)

// captures serves the engines other than XDP.
func (s scrape) captures(now *Snapshot) {
	for i := range now.Captures[:min(len(now.Captures), MaxInterfaces)] {
		c := &now.Captures[i]
		s.flag(captureUp, c.Error == "", c.Interface, c.Engine, c.Mode)
		s.put(captureWorkers, float64(c.Workers), c.Interface, c.Engine)
		s.put(captureRestarts, float64(c.Restarts), c.Interface, c.Engine)
		s.put(captureFrames, float64(c.Received), c.Interface, c.Engine, "received")
		s.put(captureFrames, float64(c.KernelDrop), c.Interface, c.Engine, "kernel_dropped")
		s.put(captureFrames, float64(c.Dropped), c.Interface, c.Engine, "dropped")
	}
}

// flows serves the collection of flow records, where there is one.
func (s scrape) flows(f *Flows) {
	if f == nil {
		return
	}
	s.put(flowExporters, float64(len(f.Exporters)))
	s.put(flowWorkers, float64(f.Workers))
	s.put(flowReceiveBuffer, float64(f.ReceiveBuffer))
	s.put(flowDatagrams, float64(f.Datagrams))
	s.put(flowBytes, float64(f.Bytes))
	s.put(flowRecords, float64(f.Records))
	s.put(flowDatagramsLost, float64(f.KernelDropped), "kernel")
	s.put(flowDatagramsLost, float64(f.Refused), "refused")
	s.put(flowDatagramsLost, float64(f.OverLimit), "max_exporters")
	for protocol, n := range f.Undecodable {
		s.put(flowUndecodable, float64(n), protocol)
	}
	if x := f.Filter; x != nil {
		s.put(flowFilterCalls, float64(x.Calls))
		s.put(flowFilterRecords, float64(x.Dropped), "dropped")
		s.put(flowFilterRecords, float64(x.Rescaled), "rescaled")
		s.put(flowFilterErrors, float64(x.Errors), "error")
		s.put(flowFilterErrors, float64(x.Runaways), "runaway")
		s.flag(flowFilterOff, x.SwitchedOff)
	}
	for i := range f.Exporters[:min(len(f.Exporters), MaxExporters)] {
		s.exporter(&f.Exporters[i])
	}
}

func (s scrape) exporter(e *Exporter) {
	address := e.Address.String()
	for _, one := range []struct {
		id    id
		value float64
	}{
		{exporterDatagrams, float64(e.Datagrams)}, {exporterRecords, float64(e.Records)},
		{exporterPackets, float64(e.Packets)}, {exporterBytes, float64(e.Bytes)},
		{exporterLost, float64(e.Lost)}, {exporterUnknownTemplates, float64(e.UnknownTemplates)}, {exporterErrors, float64(e.Errors)},
		{exporterTemplates, float64(e.Templates)}, {exporterClockOffset, e.ClockOffset.Seconds()}, {exporterProblems, float64(e.Problems)},
	} {
		s.put(one.id, one.value, address, e.Name)
	}
	s.put(exporterRecordsLeftOut, float64(e.Withheld), address, e.Name, "withheld")
	s.put(exporterRecordsLeftOut, float64(e.Duplicates), address, e.Name, "duplicate")
	s.put(exporterRecordsLeftOut, float64(e.Filtered), address, e.Name, "filtered")
	rate := e.SamplingRate
	if e.SamplingOrigin == traffic.RateUnknown {
		rate = 0
	}
	s.put(exporterSamplingRate, float64(rate), address, e.Name, e.SamplingOrigin.String())
	for _, timeout := range []struct {
		id    id
		value time.Duration
	}{{exporterActiveTimeout, e.ActiveTimeout}, {exporterInactiveTimeout, e.InactiveTimeout}} {
		if timeout.value > 0 {
			s.put(timeout.id, timeout.value.Seconds(), address, e.Name)
		}
	}
	if !e.LastSeen.IsZero() {
		s.put(exporterLastSeen, float64(e.LastSeen.UnixMilli())/1e3, address, e.Name)
	}
}
