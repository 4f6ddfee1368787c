package api

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"weir/userspace/api/weirpb"
	"weir/userspace/traffic"
)

func sampleExporters() ExporterStatus {
	return ExporterStatus{Configured: true, Exporters: []Exporter{
		{
			Address: netip.MustParseAddr("192.0.2.1"), Name: "edge", Group: "borders", Protocols: []traffic.FlowSource{traffic.NetFlow5, traffic.SFlow5},
			Datagrams: 1, Records: 2, Packets: 3, Bytes: 4, Lost: 5, LostPercent: 6.5, UnknownTemplates: 7, Templates: 8, SamplingRate: 1000,
			SamplingOrigin: traffic.RateOptions, Withheld: 9, Duplicates: 10, Filtered: 11, Errors: 12, LastError: "cut off at byte 20",
			ClockOffset: -1500 * time.Millisecond, ActiveTimeout: time.Minute, InactiveTimeout: 15 * time.Second, LastSeen: morning,
			Interfaces: []traffic.InterfaceCounters{{Index: 3, Speed: 1e10, Up: true, InBytes: 1, OutBytes: 2, InPackets: 3, OutPackets: 4, InDrops: 5, OutDrops: 6, InErrors: 7, OutErrors: 8}},
			Problems:   []Problem{{"its clock is wrong", "use NTP"}},
		},
		{Address: netip.MustParseAddr("2001:db8::1"), SamplingRate: 1, SamplingOrigin: traffic.RateUnknown},
	}}
}

func TestExporters(t *testing.T) {
	var asked any
	backend := sampleBackend(&asked)
	configured := true
	backend.Exporters = func(context.Context) (ExporterStatus, error) {
		if !configured {
			return ExporterStatus{}, nil
		}
		return sampleExporters(), nil
	}
	ctx, client := bgpClient(t, backend)
	edge := &weirpb.Exporter{
		Address: "192.0.2.1", Name: "edge", Group: "borders", Protocols: []string{"netflow5", "sflow5"},
		Datagrams: 1, Records: 2, Packets: 3, Bytes: 4, Lost: 5, LostPercent: 6.5, UnknownTemplates: 7, Templates: 8, SamplingRate: 1000,
		SamplingOrigin: "options", Withheld: 9, Duplicates: 10, Filtered: 11, Errors: 12, LastError: "cut off at byte 20",
		ClockOffset: durationpb.New(-1500 * time.Millisecond), ActiveTimeout: durationpb.New(time.Minute), InactiveTimeout: durationpb.New(15 * time.Second),
		LastSeen:   timestamppb.New(morning),
		Interfaces: []*weirpb.ExporterInterface{{Index: 3, Speed: 1e10, Up: true, InBytes: 1, OutBytes: 2, InPackets: 3, OutPackets: 4, InDrops: 5, OutDrops: 6, InErrors: 7, OutErrors: 8}},
		Problems:   []*weirpb.ExporterProblem{{Sentence: "its clock is wrong", Remedy: "use NTP"}},
	}
	other := &weirpb.Exporter{Address: "2001:db8::1", SamplingOrigin: "unknown", ClockOffset: durationpb.New(0)}
	for _, test := range []struct {
		name    string
		request *weirpb.ExportersRequest
		want    *weirpb.ExportersResponse
	}{
		{"all", &weirpb.ExportersRequest{}, &weirpb.ExportersResponse{Configured: true, Exporters: []*weirpb.Exporter{edge, other}, Total: 2}},
		{"limit", &weirpb.ExportersRequest{Limit: 1}, &weirpb.ExportersResponse{Configured: true, Exporters: []*weirpb.Exporter{edge}, Total: 2}},
		{"by name", &weirpb.ExportersRequest{Exporter: "edge"}, &weirpb.ExportersResponse{Configured: true, Exporters: []*weirpb.Exporter{edge}, Total: 1}},
		{"by address", &weirpb.ExportersRequest{Exporter: "2001:DB8:0::1"}, &weirpb.ExportersResponse{Configured: true, Exporters: []*weirpb.Exporter{other}, Total: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := client.Exporters(ctx, connect.NewRequest(test.request))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got.Msg, test.want, protocmp.Transform()); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
	configured = false
	got, err := client.Exporters(ctx, connect.NewRequest(&weirpb.ExportersRequest{Exporter: "edge"}))
	if err != nil || got.Msg.GetConfigured() {
		t.Errorf("without flow telemetry: %v, %v", got, err)
	}
}

func TestExportersRefused(t *testing.T) {
	var asked any
	for _, test := range []struct {
		name, message string
		exporters     func(context.Context) (ExporterStatus, error)
		request       *weirpb.ExportersRequest
		code          connect.Code
	}{
		{"nobody", `exporter "192.0.2.0/24"`, func(context.Context) (ExporterStatus, error) { return sampleExporters(), nil }, &weirpb.ExportersRequest{Exporter: "192.0.2.0/24"}, connect.CodeNotFound},
		{"limit", "at most 10000", func(context.Context) (ExporterStatus, error) { return sampleExporters(), nil }, &weirpb.ExportersRequest{Limit: 10001}, connect.CodeInvalidArgument},
		{"not yet", "not started yet", func(context.Context) (ExporterStatus, error) {
			return ExporterStatus{}, Unavailable(errors.New("not started yet"))
		}, &weirpb.ExportersRequest{}, connect.CodeUnavailable},
		{"no such part", "no part that collects", nil, &weirpb.ExportersRequest{}, connect.CodeUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			backend := sampleBackend(&asked)
			backend.Exporters = test.exporters
			ctx, client := bgpClient(t, backend)
			_, err := client.Exporters(ctx, connect.NewRequest(test.request))
			if connect.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.message) {
				t.Errorf("got %v, want %s with %q", err, test.code, test.message)
			}
		})
	}
}

// The status has the collector and the engines, and neither where there is none.
func TestStatusOfFlowsAndEngines(t *testing.T) {
	s := Status{
		Interfaces: []Interface{
			{Name: "eth0", Mode: "native"},
			{Name: "eth1", Engine: "afpacket", Mode: "fanout cpu", Capture: &traffic.CaptureStats{Engine: "afpacket", Workers: 2, Received: 3, KernelDrop: 4, Dropped: 5, Restarts: 6, Error: "down"}},
		},
		Flows: &FlowCollector{
			Listen: []string{"udp 0.0.0.0:2055"}, Workers: 1, Exporters: 2, ReceiveBuffer: 3, ReceiveBufferAsked: 4, Datagrams: 5, Bytes: 6, Records: 7,
			KernelDropped: 8, Refused: 9, OverLimit: 10, Undecodable: []Tally{{"netflow9", 11}},
			Filter: &FlowFilter{Calls: 1, Dropped: 2, Rescaled: 3, Errors: 4, Runaways: 5, LastError: "f.lua:3: boom", SwitchedOff: true, Rules: []Tally{{"then discard", 6}}},
		},
	}
	got := statusOut(&s)
	wantInterfaces := []*weirpb.Interface{
		{Name: "eth0", Mode: "native", Engine: "xdp"},
		{Name: "eth1", Mode: "fanout cpu", Engine: "afpacket", Capture: &weirpb.Capture{Workers: 2, Received: 3, KernelDropped: 4, Dropped: 5, Restarts: 6, Error: "down"}},
	}
	if diff := cmp.Diff(got.GetInterfaces(), wantInterfaces, protocmp.Transform()); diff != "" {
		t.Errorf("interfaces (-got +want)\n%s", diff)
	}
	wantFlows := &weirpb.FlowCollector{
		Listen: []string{"udp 0.0.0.0:2055"}, Workers: 1, Exporters: 2, ReceiveBuffer: 3, ReceiveBufferAsked: 4, Datagrams: 5, Bytes: 6, Records: 7,
		KernelDropped: 8, Refused: 9, OverLimit: 10, Undecodable: []*weirpb.Tally{{Name: "netflow9", Count: 11}},
		Filter: &weirpb.FlowFilter{Calls: 1, Dropped: 2, Rescaled: 3, Errors: 4, Runaways: 5, LastError: "f.lua:3: boom", SwitchedOff: true,
			Rules: []*weirpb.Tally{{Name: "then discard", Count: 6}}},
	}
	if diff := cmp.Diff(got.GetFlows(), wantFlows, protocmp.Transform()); diff != "" {
		t.Errorf("flows (-got +want)\n%s", diff)
	}
	s.Flows.Filter = nil
	if got := statusOut(&s).GetFlows(); got == nil || got.GetFilter() != nil {
		t.Errorf("flows without filter: %v", got)
	}
	if got := statusOut(&Status{}); got.GetFlows() != nil {
		t.Errorf("status without flows: %v", got.GetFlows())
	}
}
