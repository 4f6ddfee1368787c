package metrics

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/userspace/traffic"
)

func sampleCaptures() []traffic.CaptureStats {
	return []traffic.CaptureStats{
		{Engine: "afpacket", Interface: "eth3", Mode: "fanout cpu", Workers: 2, Received: 30, KernelDrop: 4, Dropped: 5, Restarts: 6},
		{Engine: "netmap", Interface: "vale0:a", Error: "no such device"},
	}
}

func sampleFlows() *Flows {
	return &Flows{
		Workers: 2, ReceiveBuffer: 1 << 20, Datagrams: 10, Bytes: 11, Records: 12, KernelDropped: 13, Refused: 14, OverLimit: 15,
		Undecodable: map[string]uint64{"netflow9": 16},
		Filter:      &FlowFilter{Calls: 17, Dropped: 18, Rescaled: 19, Errors: 20, Runaways: 21, SwitchedOff: true},
		Exporters: []Exporter{{
			Address: netip.MustParseAddr("192.0.2.1"), Name: "edge", Datagrams: 1, Records: 2, Packets: 3, Bytes: 4, Withheld: 5, Duplicates: 6, Filtered: 7,
			Lost: 8, UnknownTemplates: 9, Errors: 10, Templates: 11, SamplingRate: 1000, SamplingOrigin: traffic.RateOptions, ClockOffset: -1500 * time.Millisecond,
			ActiveTimeout: time.Minute, InactiveTimeout: 15 * time.Second, LastSeen: time.Unix(1700000000, 5e8), Problems: 2,
		}, {Address: netip.MustParseAddr("2001:db8::1"), SamplingRate: 1, SamplingOrigin: traffic.RateUnknown}},
	}
}

func TestFlowsAndCaptures(t *testing.T) {
	code, body := scraped(t, sample, http.MethodGet, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("status %d: %s", code, body)
	}
	lines := strings.Split(body, "\n")
	for _, want := range []string{
		`weir_capture_up{engine="afpacket",interface="eth3",mode="fanout cpu"} 1`,
		`weir_capture_up{engine="netmap",interface="vale0:a",mode=""} 0`,
		`weir_capture_workers{engine="afpacket",interface="eth3"} 2`,
		`weir_capture_frames_total{engine="afpacket",interface="eth3",result="received"} 30`,
		`weir_capture_frames_total{engine="afpacket",interface="eth3",result="kernel_dropped"} 4`,
		`weir_capture_frames_total{engine="afpacket",interface="eth3",result="dropped"} 5`,
		`weir_capture_restarts_total{engine="afpacket",interface="eth3"} 6`,
		`weir_flow_exporters 2`,
		`weir_flow_workers 2`,
		`weir_flow_receive_buffer_bytes 1.048576e+06`,
		`weir_flow_datagrams_total 10`,
		`weir_flow_bytes_total 11`,
		`weir_flow_records_total 12`,
		`weir_flow_datagrams_lost_total{reason="kernel"} 13`,
		`weir_flow_datagrams_lost_total{reason="refused"} 14`,
		`weir_flow_datagrams_lost_total{reason="max_exporters"} 15`,
		`weir_flow_undecodable_total{protocol="netflow9"} 16`,
		`weir_flow_filter_calls_total 17`,
		`weir_flow_filter_records_total{result="dropped"} 18`,
		`weir_flow_filter_records_total{result="rescaled"} 19`,
		`weir_flow_filter_errors_total{kind="error"} 20`,
		`weir_flow_filter_errors_total{kind="runaway"} 21`,
		`weir_flow_filter_switched_off 1`,
		`weir_exporter_datagrams_total{exporter="192.0.2.1",name="edge"} 1`,
		`weir_exporter_records_total{exporter="192.0.2.1",name="edge"} 2`,
		`weir_exporter_packets_total{exporter="192.0.2.1",name="edge"} 3`,
		`weir_exporter_bytes_total{exporter="192.0.2.1",name="edge"} 4`,
		`weir_exporter_records_left_out_total{exporter="192.0.2.1",name="edge",reason="withheld"} 5`,
		`weir_exporter_records_left_out_total{exporter="192.0.2.1",name="edge",reason="duplicate"} 6`,
		`weir_exporter_records_left_out_total{exporter="192.0.2.1",name="edge",reason="filtered"} 7`,
		`weir_exporter_lost_total{exporter="192.0.2.1",name="edge"} 8`,
		`weir_exporter_unknown_templates_total{exporter="192.0.2.1",name="edge"} 9`,
		`weir_exporter_errors_total{exporter="192.0.2.1",name="edge"} 10`,
		`weir_exporter_templates{exporter="192.0.2.1",name="edge"} 11`,
		`weir_exporter_sampling_rate{exporter="192.0.2.1",name="edge",origin="options"} 1000`,
		`weir_exporter_sampling_rate{exporter="2001:db8::1",name="",origin="unknown"} 0`,
		`weir_exporter_clock_offset_seconds{exporter="192.0.2.1",name="edge"} -1.5`,
		`weir_exporter_active_timeout_seconds{exporter="192.0.2.1",name="edge"} 60`,
		`weir_exporter_inactive_timeout_seconds{exporter="192.0.2.1",name="edge"} 15`,
		`weir_exporter_last_seen_timestamp_seconds{exporter="192.0.2.1",name="edge"} 1.7000000005e+09`,
		`weir_exporter_problems{exporter="192.0.2.1",name="edge"} 2`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("missing line %s", want)
		}
	}
	for _, unknown := range []string{"active_timeout", "inactive_timeout", "last_seen_timestamp"} {
		if strings.Contains(body, "weir_exporter_"+unknown+`_seconds{exporter="2001:db8::1"`) {
			t.Errorf("%s is served although it is unknown", unknown)
		}
	}
}

// Who collects no flow records is not shown a collection of none.
func TestWithoutFlows(t *testing.T) {
	s := sample()
	s.Flows, s.Captures = nil, nil
	if _, body := scraped(t, func() Snapshot { return s }, http.MethodGet, "/metrics"); strings.Contains(body, "weir_flow_") || strings.Contains(body, "weir_exporter_") || strings.Contains(body, "weir_capture_") {
		t.Errorf("got %s", body)
	}
	s.Flows = sampleFlows()
	s.Flows.Filter = nil
	if _, body := scraped(t, func() Snapshot { return s }, http.MethodGet, "/metrics"); strings.Contains(body, "weir_flow_filter") || !strings.Contains(body, "weir_flow_records_total 12") {
		t.Errorf("got %s", body)
	}
}
