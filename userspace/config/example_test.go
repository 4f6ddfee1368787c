package config

import (
	"errors"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const examplePath = "../../weir.example.yaml"

func readExample(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// readWholeExample returns the example with all that is commented out in it: list entries, and the sections "bgp" and "flows", whose
// lines begin with "#" and no single space behind it.
func readWholeExample(t *testing.T) []byte {
	t.Helper()
	return uncommented(readExample(t))
}

func uncommented(data []byte) []byte {
	text := regexp.MustCompile(`(?m)^( +)# (- \{)`).ReplaceAll(data, []byte("$1$2"))
	return regexp.MustCompile(`(?m)^#(\w+:|  .*)$`).ReplaceAll(text, []byte("$1"))
}

// TestExample: what new operators start from is valid, without a warning, also where it is loaded from its own folder.
func TestExample(t *testing.T) {
	c, err := Load(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("got warnings:\n%s", Errors(c.Warnings).Error())
	}
	if len(c.Hostgroups) < 2 || len(c.Networks.Prefixes) == 0 || len(c.Interfaces) == 0 {
		t.Errorf("got %d hostgroups, %d networks, %d interfaces: the example shows too little", len(c.Hostgroups), len(c.Networks.Prefixes), len(c.Interfaces))
	}
}

// TestExampleWithoutComments: the lines that are commented out in the example are right as well.
func TestExampleWithoutComments(t *testing.T) {
	c, err := Parse("weir.yaml", readWholeExample(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("got warnings:\n%s", Errors(c.Warnings).Error())
	}
	if len(c.Interfaces) < 3 || c.Interfaces[2].Pair != "eth1" {
		t.Errorf("got interfaces %v, want the commented pair too", c.Interfaces)
	}
	shown := map[Engine]bool{}
	for _, i := range c.Interfaces {
		shown[i.Engine] = true
		if diff := cmp.Diff(i.Capture, defaultCapture(i.Engine)); diff != "" {
			t.Errorf("options of %s, which are said to be the defaults (-got +want)\n%s", i.Name, diff)
		}
	}
	if len(shown) != len(engines()) {
		t.Errorf("got engines %v, want %v", shown, engines())
	}
	kinds := map[BGPKind]bool{}
	for _, a := range c.BGP.Actions {
		kinds[a.Kind] = true
	}
	if len(kinds) != 3 || !c.BGP.Speaks() {
		t.Errorf("got BGP %+v, want peers, and actions of all kinds", c.BGP)
	}
}

// TestExampleDefaults: where the example says what a key of "bgp" or "flows" is unless set, it is that.
func TestExampleDefaults(t *testing.T) {
	example, err := Parse("weir.yaml", readWholeExample(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	least := mustParse(t, `
bgp:
  as: 64500
  router_id: 192.0.2.9
  peers:
    - {name: border1, address: 192.0.2.254, as: 64500}
    - {name: upstream1, address: "2001:db8:ffff::1", as: 64496}
  exabgp:
  gobgp:
  actions:
    rtbh: {kind: blackhole}
    scrub: {kind: divert, next_hop: {ipv4: 203.0.113.1, ipv6: "2001:db8:f::1"}}
`).BGP
	got, want := example.BGP, least
	for i, p := range got.Peers { // what the example shows and has no default
		got.Peers[i].LocalAddress, got.Peers[i].Password, got.Peers[i].Multihop, got.Peers[i].Families = netip.Addr{}, "", 0, least.Peers[i].Families
		if p.Families[BGPUnicast4] == 0 {
			t.Errorf("peer %s carries %v", p.Name, p.Families)
		}
	}
	got.Actions = got.Actions[:2]
	for i := range got.Actions {
		got.Actions[i].Announcements = least.Actions[i].Announcements
	}
	if diff := cmp.Diff(got, want, compareBGP...); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	flows := example.Flows
	if !flows.Collects() || len(flows.Allow) == 0 || len(flows.Exporters) == 0 || len(flows.Filters.Rules) == 0 {
		t.Errorf("got flows %+v, want some of everything", flows)
	}
	if flows.Kafka == nil || len(flows.Kafka.Brokers) == 0 {
		t.Error("no flow records from Kafka are shown")
	}
	flows.Listen, flows.Allow, flows.Exporters, flows.Filters.Rules, flows.Kafka = nil, nil, nil, nil, nil
	if diff := cmp.Diff(flows, Default().Flows, compareNet); diff != "" {
		t.Errorf("flows (-got +want)\n%s", diff)
	}
	rtbh := example.BGP.Actions[0].Announcements[0]
	rtbh.Peers, rtbh.LocalPref = nil, nil
	if diff := cmp.Diff(rtbh, least.Actions[0].Announcements[0], compareNet); diff != "" {
		t.Errorf("announcement of the blackhole (-got +want)\n%s", diff)
	}
}

// TestExampleNamesEveryKey puts a key that nobody expects into each mapping of the example: the errors list the expected ones.
func TestExampleNamesEveryKey(t *testing.T) {
	data := readWholeExample(t)
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	addProbes(&document)
	probed, err := yaml.Marshal(&document)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse("weir.yaml", probed, nil)
	var errs Errors
	if !errors.As(err, &errs) {
		t.Fatalf("got %v, want Errors", err)
	}
	keys := make(map[string]bool)
	for _, e := range errs {
		if _, list, ok := strings.Cut(e.Message, "; expected one of "); ok {
			for _, key := range strings.Split(list, ", ") {
				keys[key] = true
			}
		}
	}
	if len(keys) < 140 {
		t.Errorf("got %d keys from the errors, want all of them:\n%v", len(keys), err)
	}
	for key := range keys {
		if !regexp.MustCompile(`(?m)(^|[\s{,])` + key + `:`).Match(data) {
			t.Errorf("the example does not show the key %q", key)
		}
	}
}

// addProbes adds an unexpected key to every mapping below n.
func addProbes(n *yaml.Node) {
	for _, child := range n.Content {
		addProbes(child)
	}
	if n.Kind == yaml.MappingNode {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "probe"}, &yaml.Node{Kind: yaml.ScalarNode, Tag: nullTag})
	}
}
