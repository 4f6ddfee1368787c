package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEngines: every engine with its defaults, and with every option set.
func TestEngines(t *testing.T) {
	mirror := func(name string, e Engine, c Capture) Interface {
		return Interface{Name: name, Engine: e, Mode: ModeAuto, Role: RoleMirror, Capture: c}
	}
	native := mirror("eth1", EngineAFXDP, Capture{Promiscuous: true, Sampling: 1, AFXDP: AFXDP{Queues: []int{0, 3, 5}, ZeroCopy: ZeroCopyOn}})
	native.Mode = ModeNative
	for text, want := range map[string]Interface{
		"{name: eth1, engine: afpacket, role: mirror}": mirror("eth1", EngineAFPacket, Capture{Promiscuous: true, Sampling: 1, AFPacket: AFPacket{FanoutCPU, 64, 1 << 20, 1, nil}}),
		"{name: eth1, engine: afpacket, role: mirror, options: {kernel_sampling: 10, filter: \"2,40 0 0 12, 6 0 0 4294967295,\"}}": mirror("eth1", EngineAFPacket,
			Capture{Promiscuous: true, Sampling: 1, AFPacket: AFPacket{FanoutCPU, 64, 1 << 20, 10, []Instruction{{Op: 40, K: 12}, {Op: 6, K: 1<<32 - 1}}}}),
		"{name: eth1, engine: afpacket, role: mirror, options: {fanout: queue_mapping, blocks: 8, block_size: 256KiB, promiscuous: no, sampling: 4k, workers: 2}}": mirror(
			"eth1", EngineAFPacket, Capture{Sampling: 4000, Workers: 2, AFPacket: AFPacket{FanoutQueue, 8, 256 << 10, 1, nil}}),
		"{name: eth1, engine: afxdp, role: mirror}": mirror("eth1", EngineAFXDP, Capture{Promiscuous: true, Sampling: 1, AFXDP: AFXDP{ZeroCopy: ZeroCopyAuto}}),
		"{name: eth1, engine: afxdp, role: mirror, options: {queues: all, zero_copy: off, workers: auto}}": mirror(
			"eth1", EngineAFXDP, Capture{Promiscuous: true, Sampling: 1, AFXDP: AFXDP{ZeroCopy: ZeroCopyOff}}),
		"{name: eth1, engine: afxdp, mode: native, role: mirror, options: {queues: [5, 0, 3], zero_copy: on}}": native,
		"{name: any, engine: pcap, role: mirror}":                                                              mirror("any", EnginePcap, Capture{Promiscuous: true, Sampling: 1, Pcap: Pcap{256, 2 << 20}}),
		"{name: eth1, engine: pcap, role: mirror, options: {snaplen: 65535, buffer: 2MB}}":                     mirror("eth1", EnginePcap, Capture{Promiscuous: true, Sampling: 1, Pcap: Pcap{65535, 2e6}}),
		"{name: 'netmap:vale0:port{1', engine: netmap, role: mirror}":                                          mirror("netmap:vale0:port{1", EngineNetmap, Capture{Promiscuous: true, Sampling: 1}),
		"{name: eth1-0, engine: netmap, role: mirror, options: {host_rings: true}}": mirror(
			"eth1-0", EngineNetmap, Capture{Promiscuous: true, Sampling: 1, Netmap: Netmap{HostRings: true}}),
		"{name: 'zc:99@0', engine: pfring, role: mirror}": mirror("zc:99@0", EnginePFRing, Capture{Promiscuous: true, Sampling: 1, PFRing: PFRing{Watermark: 1, KernelSampling: 1}}),
		"{name: eth1, engine: pfring, role: mirror, options: {cluster: 21, watermark: 128, kernel_sampling: 10}}": mirror(
			"eth1", EnginePFRing, Capture{Promiscuous: true, Sampling: 1, PFRing: PFRing{Cluster: 21, Watermark: 128, KernelSampling: 10}}),
		"{name: '0000:04:00.0', engine: snabb, role: mirror}": mirror("0000:04:00.0", EngineSnabb, Capture{Promiscuous: true, Sampling: 1, Snabb: Snabb{Program: "snabb"}}),
		"{name: eth1, engine: snabb, role: mirror, options: {program: bin/snabb, script: own.lua}}": mirror(
			"eth1", EngineSnabb, Capture{Promiscuous: true, Sampling: 1, Snabb: Snabb{Program: "bin/snabb", Script: "own.lua"}}),
		"{name: eth1, engine: xdp, options: }": {Name: "eth1", Engine: EngineXDP, Mode: ModeAuto, Role: RoleHost},
	} {
		t.Run(text, func(t *testing.T) {
			got := mustParse(t, "networks: {prefixes: [192.0.2.0/24]}\ninterfaces: ["+text+"]\n").Interfaces
			if diff := cmp.Diff(got, []Interface{want}); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

// TestEveryEngineHasDefaults: each engine that can be chosen reads frames when nothing else is said.
func TestEveryEngineHasDefaults(t *testing.T) {
	for _, e := range engines() {
		c := defaultCapture(e)
		if (e == EngineXDP) != cmp.Equal(c, Capture{}) || e != EngineXDP && (!c.Promiscuous || c.Sampling != 1) {
			t.Errorf("%s: got %+v", e, c)
		}
		if strings.ToLower(string(e)) != string(e) {
			t.Errorf("engine %q is not in lower case", e)
		}
	}
}
