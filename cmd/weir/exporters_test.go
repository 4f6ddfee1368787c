package main

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/userspace/api"
	"weir/userspace/traffic"
)

// senders is a healthy exporter, and one with everything that can be wrong.
func senders() api.ExporterStatus {
	return api.ExporterStatus{Configured: true, Exporters: []api.Exporter{
		{
			Address: netip.MustParseAddr("192.0.2.1"), Name: "edge", Protocols: []traffic.FlowSource{traffic.NetFlow9, traffic.IPFIX}, Datagrams: 1000, Records: 24000,
			Packets: 5e6, Bytes: 6e9, Templates: 4, SamplingRate: 1000, SamplingOrigin: traffic.RateOptions, ActiveTimeout: time.Minute, LastSeen: dawn(),
			Interfaces: []traffic.InterfaceCounters{{Index: 517, Up: true, Speed: 1e11, InPackets: 7e6, OutDrops: 3}, {Index: 518}},
		},
		{
			Address: netip.MustParseAddr("2001:db8::1"), Protocols: []traffic.FlowSource{traffic.SFlow5}, Lost: 50, LostPercent: 4.25, UnknownTemplates: 6,
			SamplingOrigin: traffic.RateUnknown, Withheld: 7, Duplicates: 8, Filtered: 9, Errors: 10, ClockOffset: 90 * time.Second,
			Problems: []api.Problem{{Sentence: "nobody has told how it samples\x1b[2J", Remedy: "set sampling_rate"}},
		},
	}}
}

func collector() *api.FlowCollector {
	return &api.FlowCollector{
		Workers: 2, Exporters: 2, ReceiveBuffer: 212992, ReceiveBufferAsked: 16 << 20, Datagrams: 1000, Records: 24000, KernelDropped: 11, Refused: 12, OverLimit: 13,
		Undecodable: []api.Tally{{Name: "netflow9", Count: 14}, {Name: "ipfix"}},
		Filter:      &api.FlowFilter{Calls: 15, Dropped: 16, Rescaled: 17, Errors: 18, Runaways: 19, LastError: "flows.lua:3: boom"},
	}
}

func TestExporters(t *testing.T) {
	f := fake{exporters: senders()}
	_, socket := daemon(t, &f)
	got := weir(t, commands{}, "exporters", "--interfaces", "--socket", socket)
	if got.code != exitDone || got.err != "" || strings.Contains(got.out, "\x1b") {
		t.Errorf("%+v", got)
	}
	for _, want := range []string{
		"192.0.2.1", "edge", "netflow9,ipfix", "24.0k", "5.00M", "6.00G", "1:1000 options", "1m0s/?", "right",
		"sflow5", "50 (4.2 %)", "  unknown  ", "withheld 7, duplicates 8, filtered 9, errors 10", "0, 6 unknown", "+1m30s",
		"517", "100G", "7.00M", "down",
		"\n2001:db8::1: nobody has told how it samples?[2J\n    set sampling_rate\n",
	} {
		if !strings.Contains(got.out, want) {
			t.Errorf("%q is not shown in\n%s", want, got.out)
		}
	}
	if got := weir(t, commands{}, "exporters", "--socket", socket, "--limit", "1"); !strings.Contains(got.out, "1 of 2 exporters shown\n") || strings.Contains(got.out, "2001:db8::1") || strings.Contains(got.out, "517") {
		t.Errorf("limit: %+v", got)
	}
	if got := weir(t, commands{}, "exporters", "--socket", socket, "--exporter", "2001:db8::1"); strings.Contains(got.out, "edge") || !strings.Contains(got.out, "sflow5") {
		t.Errorf("one exporter: %+v", got)
	}
	if got := weir(t, commands{}, "exporters", "--socket", socket, "--exporter", "core"); got.code != exitFailed || !strings.HasPrefix(got.err, `weir: exporter "core": nothing was heard from it`) {
		t.Errorf("unknown exporter: %+v", got)
	}
	if got := weir(t, commands{}, "exporters", "--limit", "0"); got.code != exitUsage {
		t.Errorf("limit 0: %+v", got)
	}
	var list struct {
		Exporters []struct {
			Address       string
			SamplingRate  uint32   `json:"sampling_rate"`
			ClockOffset   float64  `json:"clock_offset"`
			ActiveTimeout *float64 `json:"active_timeout"`
			Problems      []struct{ Sentence, Remedy string }
		}
	}
	asJSON := weir(t, commands{}, "exporters", "--json", "--socket", socket)
	if err := json.Unmarshal([]byte(asJSON.out), &list); err != nil || len(list.Exporters) != 2 {
		t.Fatalf("%v in %+v", err, asJSON)
	}
	if a, b := list.Exporters[0], list.Exporters[1]; a.SamplingRate != 1000 || *a.ActiveTimeout != 60 || b.ClockOffset != 90 || b.ActiveTimeout != nil || len(b.Problems) != 1 || b.Problems[0].Remedy != "set sampling_rate" {
		t.Errorf("%+v", list)
	}
}

func TestNoExporters(t *testing.T) {
	var f fake
	_, socket := daemon(t, &f)
	if got := weir(t, commands{}, "exporters", "--socket", socket); got.code != exitDone || got.out != "no flow records are collected: \"flows.listen\" is not configured\n" {
		t.Errorf("%+v", got)
	}
	f.exporters.Configured = true
	if got := weir(t, commands{}, "exporters", "--socket", socket); got.code != exitDone || got.out != "nothing was heard from any exporter yet\n" {
		t.Errorf("%+v", got)
	}
}

func TestStatusTellsFlowsAndCaptures(t *testing.T) {
	f := fake{flows: collector(), captures: []api.Interface{{
		Name: "eth3", Engine: "afpacket", Role: "mirror", Mode: "fanout cpu", Attached: true,
		Capture: &traffic.CaptureStats{Workers: 2, Received: 3e6, KernelDrop: 4, Restarts: 5, Error: "the interface is down"},
	}}}
	_, socket := daemon(t, &f)
	shows := func(wants ...string) {
		t.Helper()
		got := weir(t, commands{}, "status", "--socket", socket)
		for _, want := range wants {
			if got.code != exitDone || !strings.Contains(got.out, want) {
				t.Errorf("%q is not shown in %d\n%s", want, got.code, got.out)
			}
		}
	}
	shows("eth3       afpacket  mirror", "fanout cpu", "KERNEL DROPPED", "3.00M", "the interface is down",
		"flows    24.0k records in 1.00k datagrams of 2 exporters, dropped by the kernel 11, refused 12, over max_exporters 13, undecodable netflow9 14, receive buffer only 213k of 16.8M bytes\n",
		"filter   15 calls, 16 records dropped, 17 rescaled, 18 errors, 19 runaways, the last: flows.lua:3: boom\n")
	f.flows.Filter.SwitchedOff = true
	shows("17 rescaled, switched off until the next reload, because it took too long: flows.lua:3: boom\n")
	f.flows = &api.FlowCollector{}
	shows("flows    0 records in 0 datagrams of 0 exporters\n")
	f.flows, f.captures = nil, nil
	if got := weir(t, commands{}, "status", "--socket", socket); strings.Contains(got.out, "flows  ") || strings.Contains(got.out, "filter") || strings.Contains(got.out, "KERNEL DROPPED") {
		t.Errorf("without flows: %+v", got)
	}
}
