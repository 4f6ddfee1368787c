package signature

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/pcapgo"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

// TestCaptures holds rules for recorded attacks against mixed traffic to the same host.
func TestCaptures(t *testing.T) {
	files, err := filepath.Glob("../../../../shared/data/attacks/*.pcap*")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the collection of captures is not here")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			m := newMaker(20)
			m.host = netip.MustParseAddr("10.10.10.10")
			attack := read(t, file, m.host)
			if len(attack) < 100 {
				t.Fatalf("%d samples", len(attack))
			}
			to := traffic.Target{Prefix: netip.PrefixFrom(m.host, 32), Direction: traffic.Incoming}
			// Every other sample is for inferring, the rest for checking.
			var known, fresh []analyze.Seen
			for i := range attack {
				if i%2 == 0 {
					known = append(known, attack[i])
				} else {
					fresh = append(fresh, attack[i])
				}
			}
			r := Infer(to, known, m.mix(512), Options{})
			show(t, r)
			enough(t, "rules", r.Set)
			enough(t, "router's rules", r.RouterRules)
			if hit, cost := matching(r.Rules, fresh), matching(r.Rules, m.mix(5000)); hit < 0.95 || cost > 0.01 {
				t.Errorf("of other samples: %.4f of the attack, %.4f of normal traffic", hit, cost)
			}
		})
	}
}

// read returns what a capture has to the host.
func read(t *testing.T, file string, host netip.Addr) (list []analyze.Seen) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	var source interface {
		ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	}
	if source, err = pcapgo.NewReader(f); err != nil {
		if _, err = f.Seek(0, io.SeekStart); err == nil {
			source, err = pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for {
		data, info, err := source.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := analyze.Look(data, traffic.LinkEthernet, uint32(info.Length), info.Timestamp, 1); ok && s.Packet.Dst == host {
			list = append(list, s)
		}
	}
}
