package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// flowsOf is the section that says nothing, with the path that the store's gives it.
func flowsOf(templates string) Flows {
	f := Default().Flows
	f.Templates = templates
	return f
}

// TestFlows sets every value of the section.
func TestFlows(t *testing.T) {
	got := mustParse(t, `
networks: {prefixes: [192.0.2.0/24]}
flows:
  listen: [":2055", "192.0.2.9:6343", "[2001:db8::9]:6343"]
  tcp: ["192.0.2.9:2055"]
  workers: 3
  receive_buffer: 4MiB
  allow: [192.0.2.0/24, "2001:db8::/32", 192.0.2.0/24]
  max_exporters: 10
  max_templates: 20
  template_life: 1h
  templates: state/templates
  spread: false
  use_agent_address: true
  exporters:
    - match: 192.0.2.1
      name: border1
      sampling_rate: 2k
      interfaces: {3: {sampling_rate: 512}, 4294967295: {sampling_rate: 1}}
      domains: {0: {sampling_rate: 7}}
      direction: ingress
      only_interfaces: [9, 3, 9]
      ignore_interfaces: [4]
      group: borders
    - {match: "2001:db8::/64", direction: egress}
    - {match: 192.0.2.0/28}
  filters:
    script: flows.lua
    timeout: 20ms
    rules:
      - source 198.51.100.0/24 protocol udp then discard
      - destination 0.0.0.0/0 then accept
`)
	rule := func(text string) traffic.Rule {
		r, err := traffic.ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	addrPort := netip.MustParseAddrPort
	want := Flows{
		Listen:        []netip.AddrPort{addrPort("0.0.0.0:2055"), addrPort("[::]:2055"), addrPort("192.0.2.9:6343"), addrPort("[2001:db8::9]:6343")},
		TCP:           []netip.AddrPort{addrPort("192.0.2.9:2055")},
		Workers:       3,
		ReceiveBuffer: 4 << 20, Allow: prefixes("192.0.2.0/24", "2001:db8::/32"), MaxExporters: 10, MaxTemplates: 20, TemplateLife: time.Hour,
		Templates: "state/templates", UseAgentAddress: true,
		Exporters: []Exporter{{
			Match: netip.MustParsePrefix("192.0.2.1/32"), Name: "border1", SamplingRate: 2000, InterfaceRates: map[uint32]uint32{3: 512, 4294967295: 1},
			DomainRates: map[uint32]uint32{0: 7}, Direction: ExporterIngress, OnlyInterfaces: []uint32{3, 9}, IgnoreInterfaces: []uint32{4}, Group: "borders",
		}, {
			Match: netip.MustParsePrefix("2001:db8::/64"), Direction: ExporterEgress,
		}, {
			Match: netip.MustParsePrefix("192.0.2.0/28"), Direction: ExporterBoth,
		}},
		Filters: FlowFilters{Script: "flows.lua", Timeout: 20 * time.Millisecond, Rules: []traffic.Rule{rule("source 198.51.100.0/24 protocol udp then discard"), rule("destination 0.0.0.0/0 then accept")}},
	}
	if diff := cmp.Diff(got.Flows, want, compareNet); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	if !got.Flows.Collects() || (&Flows{}).Collects() || !(&Flows{TCP: want.TCP}).Collects() {
		t.Error("Collects does not tell who listens from who does not")
	}
}

func TestFlowsTemplatesPath(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "/var/lib/weir/templates",
		"store: {path: /srv/w/weir.db}": "/srv/w/templates",
		"flows: {templates: ''}\nstore: {path: /srv/w/weir.db}": "",
		"flows: {templates: /t}\nstore: {path: /srv/w/weir.db}": "/t",
	} {
		if got := mustParse(t, text).Flows.Templates; got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestConfidence(t *testing.T) {
	for text, want := range map[string]float64{"off": 0, "0": 0, "0.5": 0.5, "99.9%": 0.999, "0.999": 0.999} {
		if got := mustParse(t, "detection: {confidence: "+text+"}").Detection.Confidence; got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

func TestFlowsWarnings(t *testing.T) {
	const whole = "networks: {prefixes: [192.0.2.0/24]}\nhostgroups: {default: {thresholds: {pps: 1}}}\n"
	noInterfaces := Error{"weir.yaml", 1, 1, "no interfaces: nothing will be measured here"}
	tests := map[string]struct {
		text string
		want []Error
	}{
		"none without an interface": {whole + "flows: {listen: [':2055'], allow: [192.0.2.1]}\n", nil},
		"none over TCP":             {whole + "flows: {tcp: [':2055'], allow: [192.0.2.1]}\n", nil},
		"everybody": {
			whole + "flows: {listen: [':2055']}\n",
			[]Error{{"weir.yaml", 3, 8, `"flows.allow" is empty: records are taken from everybody who can reach the port, also forged ones; list your routers' addresses`}},
		},
		"nobody listens": {
			whole + "flows: {allow: [192.0.2.1]}\n",
			[]Error{noInterfaces, {"weir.yaml", 3, 8, `"flows" has neither "listen" nor "tcp": no flow records are received`}},
		},
		"empty section": {whole + "flows: {}\n", []Error{noInterfaces}},
		"exporter that is not allowed": {
			whole + "flows: {listen: [':2055'], allow: [192.0.2.1], exporters: [{match: 192.0.2.0/30}, {match: 192.0.2.2}]}\n",
			[]Error{{"weir.yaml", 3, 91, `exporter 192.0.2.2/32 has no effect: it is not in "flows.allow"`}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff([]Error(mustParse(t, test.text).Warnings), test.want); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

// TestFilterScriptOnDisk: a filter that is not there is a warning, because the routers' records go on without it.
func TestFilterScriptOnDisk(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "weir.yaml")
	if err := os.WriteFile(filepath.Join(folder, "flows.lua"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for script, problem := range map[string]string{"flows.lua": "", "missing.lua": "no such file or directory", ".": "it is a folder"} {
		text := "networks: {prefixes: [192.0.2.0/24]}\nhostgroups: {default: {thresholds: {pps: 1}}}\n" +
			"flows: {listen: [':2055'], allow: [192.0.2.1], filters: {script: " + script + "}}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		var want []Error
		if problem != "" {
			want = []Error{{path, 3, 66, `"flows.filters.script": cannot read ` + filepath.Join(folder, script) + ": " + problem}}
		}
		if diff := cmp.Diff(c.Warnings, want); diff != "" {
			t.Errorf("%s (-got +want)\n%s", script, diff)
		}
	}
}
