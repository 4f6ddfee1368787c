package engines

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/loader"
	"weir/userspace/config"
)

func TestJudge(t *testing.T) {
	ok := loader.Finding{Name: "kernel", OK: true}
	for _, tt := range []struct {
		name        string
		findings    []loader.Finding
		available   bool
		why, remedy string
	}{
		{"all there", []loader.Finding{ok, {Name: "xdp_native", OK: true, Optional: true}}, true, "programs load and attach", ""},
		{"something is missing", []loader.Finding{ok, {Name: "capabilities", Detail: "missing: CAP_BPF", Remedy: "run as root"}}, false, "capabilities: missing: CAP_BPF", "run as root"},
		{"generic only", []loader.Finding{ok, {Name: "xdp_native", Optional: true}}, true, "programs load and attach, in generic mode", ""},
		{"one could be better", []loader.Finding{ok, {Name: "btf", Optional: true}}, true, "programs load and attach", ""},
		{"an interface that is no use", []loader.Finding{ok, {Name: "mtu", Interface: "eth0"}}, true, "programs load and attach", ""},
	} {
		available, why, remedy := judge(tt.findings)
		if available != tt.available || why != tt.why || remedy != tt.remedy {
			t.Errorf("%s: got %v, %q, %q", tt.name, available, why, remedy)
		}
	}
}

// Every engine of the configuration is in the list, with what was found, and with a remedy if it is not there.
func TestList(t *testing.T) {
	var names []string
	for _, a := range List(t.Context()) {
		names = append(names, a.Name)
		if a.Why == "" || (a.Remedy == "") != a.Available {
			t.Errorf("got %+v", a)
		}
	}
	want := []string{"xdp", "afpacket", "afxdp", "pcap", "netmap", "pfring", "snabb"}
	if diff := cmp.Diff(names, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

func TestPrint(t *testing.T) {
	all := []Availability{{Name: "xdp", Available: true, Why: "programs load"}, {Name: "netmap", Why: "no module", Remedy: "load it"}}
	var out bytes.Buffer
	if err := PrintJSON(&out, all); err != nil {
		t.Fatal(err)
	}
	want := `{"engines":[{"name":"xdp","available":true,"why":"programs load","remedy":""},{"name":"netmap","available":false,"why":"no module","remedy":"load it"}]}` + "\n"
	if diff := cmp.Diff(out.String(), want); diff != "" {
		t.Errorf("JSON (-got +want)\n%s", diff)
	}
	out.Reset()
	if err := PrintTable(&out, all); err != nil {
		t.Fatal(err)
	}
	want = "ENGINE  HERE  FOUND\nxdp     yes   programs load\nnetmap  no    no module\n              -> load it\n"
	if diff := cmp.Diff(out.String(), want); diff != "" {
		t.Errorf("table (-got +want)\n%s", diff)
	}
}

// An engine that cannot be opened is an error that names the interface, and no Engine.
func TestOpenRefuses(t *testing.T) {
	namespace, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer namespace.Close()
	for _, tt := range []struct {
		engine config.Engine
		opts   Options
		want   string
	}{
		{config.EngineXDP, Options{}, `open interface none0: engine "xdp" hands over no frames`},
		{config.EngineAFPacket, Options{}, "none0"},
		{config.EngineAFXDP, Options{}, "none0"},
		{config.EnginePcap, Options{}, "capture from none0: "},
		{config.EngineNetmap, Options{}, "netmap"},
		{config.EngineNetmap, Options{Namespace: namespace}, "in the process's own network namespace only"},
		{config.EnginePFRing, Options{}, "PF_RING"},
		{config.EnginePFRing, Options{Namespace: namespace}, "in the process's own network namespace only"},
		{config.EngineSnabb, Options{}, "Snabb"},
	} {
		e, err := Open(config.Interface{Name: "none0", Engine: tt.engine, Capture: config.Capture{Sampling: 1}}, tt.opts)
		if e != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v; want %q", tt.engine, e, err, tt.want)
		}
	}
}

// Each way to spread frames has the name that the configuration has for it.
func TestFanout(t *testing.T) {
	for _, f := range []config.Fanout{config.FanoutCPU, config.FanoutHash, config.FanoutLB, config.FanoutRollover, config.FanoutQueue, config.FanoutRandom} {
		if got := fanout(f).String(); got != string(f) {
			t.Errorf("%s: got %s", f, got)
		}
	}
}

func TestWeight(t *testing.T) {
	for _, tt := range []struct {
		capture config.Capture
		want    uint32
	}{
		{config.Capture{}, 1},
		{config.Capture{Sampling: 4000}, 4000},
		{config.Capture{Sampling: 2, PFRing: config.PFRing{KernelSampling: 10}}, 20},
	} {
		if got := Weight(config.Interface{Capture: tt.capture}); got != tt.want {
			t.Errorf("%+v: got %d, want %d", tt.capture, got, tt.want)
		}
	}
}
