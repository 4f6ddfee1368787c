package analyze_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/capture/pcapfile"
	"weir/userspace/traffic"
)

// capture reads what a capture of the folder beside the project holds, as samples of 256 bytes.
func capture(t *testing.T, name string) []analyze.Seen {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", "attacks", name)
	if _, err := os.Stat(path); err != nil {
		t.Skip("no such capture beside the project")
	}
	r, err := pcapfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	var samples []analyze.Seen
	for {
		var f traffic.Frame
		if err := r.Next(&f); errors.Is(err, io.EOF) {
			return samples
		} else if err != nil {
			t.Fatal(err)
		}
		data := slices.Clone(f.Data[:min(len(f.Data), traffic.SampleBytes)])
		if s, ok := analyze.Look(data, f.Link, f.Length, time.Unix(0, f.Time), 1); ok {
			samples = append(samples, s)
		}
	}
}

// Real attacks are named rightly, each nearly as a whole.
func TestCaptures(t *testing.T) {
	for _, tt := range []struct {
		file, class string
		sources     analyze.Verdict
	}{
		{"amp.TCP.reflection.SYNACK.pcap", analyze.SYNACKReflection, analyze.SourcesReflectors},
		{"amp.UDP.isakmp.pcap", "ike_amplification", analyze.SourcesReflectors},
		{"amp.UDP.snmp.src161.pcapng", "snmp_amplification", analyze.SourcesReflectors},
		{"pkt.TCP.synflood.spoofed.pcap", analyze.SYNFlood, analyze.SourcesForged},
	} {
		t.Run(tt.file, func(t *testing.T) {
			samples := capture(t, tt.file)
			r := analyze.Analyze(samples, traffic.Incoming, nil)
			t.Logf("\n%s", r.String())
			share := 0.0
			for _, v := range r.Vectors {
				if v.Class == tt.class || v.Of == tt.class {
					share += v.Share
				}
			}
			if r.Name != tt.class || share < 0.95 || r.Confidence < 0.9 {
				t.Errorf("the report names %s, confidence %.2f; %s has a share of %.2f, want at least 0.95", r.Name, r.Confidence, tt.class, share)
			}
			if r.Spoofing.Verdict != tt.sources {
				t.Errorf("sources are %s, want %s", r.Spoofing.Verdict, tt.sources)
			}
		})
	}
}
