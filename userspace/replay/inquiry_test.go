package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"weir/userspace/traffic"
)

// analyses runs a replay and returns what it said the attacks are.
func analyses(t *testing.T, o Options) []analysisLine {
	t.Helper()
	o.JSON = true
	var out bytes.Buffer
	if err := Run(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	var all []analysisLine
	for lines := json.NewDecoder(&out); ; {
		var line analysisLine
		if err := lines.Decode(&line); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if line.Event == "analysis" {
			all = append(all, line)
		}
	}
}

// TestNamesRealAttacks: real floods are named, and rules stop them.
func TestNamesRealAttacks(t *testing.T) {
	for name, class := range map[string]string{
		"amp.TCP.reflection.SYNACK.pcap": "syn_ack_reflection",
		"amp.UDP.isakmp.pcap":            "ike_amplification",
		"amp.UDP.snmp.src161.pcapng":     "snmp_amplification",
		"pkt.TCP.synflood.spoofed.pcap":  "syn_flood",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("../../../shared/data/attacks", name)
			if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
				t.Skip("the collection of captures is not here")
			}
			all := analyses(t, Options{File: file, Networks: []string{"10.10.10.0/24"}, PPS: 500})
			if len(all) != 1 || all[0].Host != "10.10.10.10" || all[0].Class != class {
				t.Fatalf("got %+v, want one of class %s", all, class)
			}
			if r := all[0].Rules; len(r.Rules) == 0 || r.Coverage < 0.95 {
				t.Errorf("rules: %+v", r)
			}
			for _, m := range all[0].Rules.Rules {
				if _, err := traffic.ParseRule(m.Rule); err != nil {
					t.Errorf("%s: %v", m.Rule, err)
				}
			}
		})
	}
}
