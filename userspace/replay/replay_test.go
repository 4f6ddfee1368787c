package replay

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	gocmp "github.com/google/go-cmp/cmp"

	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

func dawn() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

// stamped is one frame of a capture to be.
type stamped struct {
	at   time.Duration // since dawn
	data []byte
}

// steady is pps frames a second from one time on, the i-th made by frame(i).
func steady(from, length time.Duration, pps int, frame func(i int) packettest.Frame) []stamped {
	n := int(length.Seconds() * float64(pps))
	out := make([]stamped, n)
	for i := range out {
		out[i] = stamped{from + time.Duration(i)*time.Second/time.Duration(pps), frame(i).Bytes()}
	}
	return out
}

func always(f packettest.Frame) func(int) packettest.Frame {
	return func(int) packettest.Frame { return f }
}

// write makes a capture of the frames in the order given.
func write(t *testing.T, frames ...[]stamped) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := pcapgo.NewWriterNanos(f)
	err = w.WriteFileHeader(65535, layers.LinkTypeEthernet)
	for _, s := range slices.Concat(frames...) {
		err = cmp.Or(err, w.WritePacket(gopacket.CaptureInfo{Timestamp: dawn().Add(s.at), CaptureLength: len(s.data), Length: len(s.data)}, s.data))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// merged sorts frames by time.
func merged(frames ...[]stamped) []stamped {
	all := slices.Concat(frames...)
	slices.SortStableFunc(all, func(a, b stamped) int { return cmp.Compare(a.at, b.at) })
	return all
}

// found runs a replay and returns what it printed as JSON.
func found(t *testing.T, o Options) ([]attackLine, Summary, error) {
	t.Helper()
	o.JSON = true
	var out bytes.Buffer
	runErr := Run(t.Context(), o, &out)
	var attacks []attackLine
	var sum summaryLine
	lines := json.NewDecoder(&out)
	for {
		var line struct {
			attackLine
			Summary
		}
		err := lines.Decode(&line)
		if errors.Is(err, io.EOF) {
			return attacks, sum.Summary, runErr
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case sum.Event != "":
			t.Fatal("a line behind the summary")
		case line.Event == "attack":
			attacks = append(attacks, line.attackLine)
		case line.Event == "analysis": // see inquiry_test.go
		default:
			sum = summaryLine{line.Event, line.Summary}
		}
	}
}

// within checks a rate. Where hosts get their counters on demand, they are read every 64 packets and about once a second: how long the
// first reading took to count is not known exactly.
func within(got, want float64) bool { return got > 0.7*want && got < 1.1*want }

func TestDetects(t *testing.T) {
	ports := func(f packettest.Frame) func(int) packettest.Frame {
		return func(i int) packettest.Frame { f.SrcPort = uint16(i); return f }
	}
	reply6 := packettest.UDP6()
	reply6.Src, reply6.Dst = reply6.Dst, reply6.Src
	quiet := steady(0, 4*time.Second, 50, always(packettest.TCP4()))
	for _, test := range []struct {
		name                string
		frames              []stamped
		options             Options
		host, direction     string
		metric              string
		value, threshold    float64
		from                time.Duration // when the flood begins
		startedBy, detectBy time.Duration // after that
	}{
		{
			name: "from the first packet on", frames: steady(0, time.Second, 10000, always(packettest.UDP4())), options: Options{PPS: 1000},
			host: "198.51.100.7", direction: "incoming", metric: "pps", value: 10000, threshold: 1000, startedBy: 20 * time.Millisecond, detectBy: 150 * time.Millisecond,
		},
		{
			name: "outgoing IPv6 amid ordinary traffic", frames: merged(quiet, steady(2*time.Second, time.Second, 5000, always(reply6))),
			options: Options{PPS: 1000, Networks: []string{"198.51.100.0/24", "2001:db8:2::/64"}},
			host:    "2001:db8:2::7", direction: "outgoing", metric: "pps", value: 5000, threshold: 1000, from: 2 * time.Second, startedBy: 30 * time.Millisecond, detectBy: 250 * time.Millisecond,
		},
		{
			name: "bits, written in Mbit/s", frames: steady(0, time.Second, 2000, always(packettest.UDP4(packettest.Payload(1000-42)))), options: Options{PPS: 1e6, Mbps: 2},
			host: "198.51.100.7", direction: "incoming", metric: "mbps", value: 16, threshold: 2, startedBy: 30 * time.Millisecond, detectBy: 200 * time.Millisecond,
		},
		{
			name: "flows", frames: steady(0, 2*time.Second, 3000, ports(packettest.TCP4())), options: Options{Flows: 500},
			host: "198.51.100.7", direction: "incoming", metric: "flows", value: 3000, threshold: 500, startedBy: 30 * time.Millisecond, detectBy: 300 * time.Millisecond,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.options.File = write(t, test.frames)
			if test.options.Networks == nil {
				test.options.Networks = []string{"198.51.100.0/24"}
			}
			attacks, sum, err := found(t, test.options)
			if err != nil || len(attacks) != 1 || sum.Attacks != 1 || sum.Packets != uint64(len(test.frames)) {
				t.Fatalf("attacks %+v, summary %+v, %v", attacks, sum, err)
			}
			a := attacks[0]
			if a.Host != test.host || a.Direction != test.direction || a.Metric != test.metric || !within(a.Value, test.value) || a.Threshold != test.threshold {
				t.Errorf("%+v", a)
			}
			begun := dawn().Add(test.from)
			if off := a.Started.Sub(begun); off < -100*time.Millisecond || off > test.startedBy {
				t.Errorf("started %s after the flood", off)
			}
			if off := a.Detected.Sub(begun); off <= 0 || off > test.detectBy {
				t.Errorf("detected %s after the flood", off)
			}
		})
	}
}

func TestStaysSilent(t *testing.T) {
	below := func(from, length time.Duration) []stamped {
		return steady(from, length, 900, always(packettest.UDP4()))
	}
	many := func(i int) packettest.Frame {
		f := packettest.UDP4()
		f.Dst = netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
		return f
	}
	elsewhere := packettest.UDP4()
	elsewhere.Dst = netip.MustParseAddr("203.0.113.1")
	late := below(0, 2*time.Second)
	for i := range late { // every other frame was captured on another queue
		if i%2 == 0 {
			late[i].at += 300 * time.Millisecond
		}
	}
	for name, frames := range map[string][]stamped{
		"below the threshold":               below(0, 8*time.Second),
		"a day's pause":                     slices.Concat(below(0, 2*time.Second), below(24*time.Hour, 2*time.Second)),
		"the clock set back":                slices.Concat(below(time.Hour, 3*time.Second), below(0, 3*time.Second), below(-time.Hour, 3*time.Second)),
		"frames out of order":               late,
		"each host below, together above":   steady(0, 3*time.Second, 5000, many),
		"traffic that is not ours":          steady(0, time.Second, 5000, always(elsewhere)),
		"three packets at one and the same": {{0, packettest.UDP4().Bytes()}, {0, packettest.UDP4().Bytes()}, {0, packettest.UDP4().Bytes()}},
	} {
		t.Run(name, func(t *testing.T) {
			attacks, sum, err := found(t, Options{File: write(t, frames), Networks: []string{"198.51.100.0/24"}, PPS: 1000})
			if err != nil || len(attacks) > 0 || sum.Packets != uint64(len(frames)) {
				t.Errorf("attacks %+v, summary %+v, %v", attacks, sum, err)
			}
		})
	}
}

// An attack is over after a pause, and the next one is another.
func TestTwoAttacks(t *testing.T) {
	for name, gap := range map[string]time.Duration{"a minute": time.Minute, "a year": 365 * 24 * time.Hour, "set back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			flood := func(from time.Duration) []stamped { return steady(from, time.Second, 5000, always(packettest.UDP4())) }
			attacks, _, err := found(t, Options{File: write(t, flood(0), flood(gap)), Networks: []string{"198.51.100.0/24"}, PPS: 1000})
			want := 2
			if gap < 0 {
				want = 1 // the first never ended: nobody can say what happened between
			}
			if err != nil || len(attacks) != want {
				t.Fatalf("%+v, %v", attacks, err)
			}
			if second := dawn().Add(gap); want == 2 && (attacks[1].Started.Before(second.Add(-20*time.Millisecond)) || attacks[1].Detected.After(second.Add(400*time.Millisecond))) {
				t.Errorf("the second flood began %s: %+v", second, attacks[1])
			}
		})
	}
}

// Networks that are too large for a counter per address find their hosts on demand.
func TestLargeNetworks(t *testing.T) {
	spread := func(i int) packettest.Frame {
		f := packettest.UDP4()
		f.Dst = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		return f
	}
	victim := packettest.UDP4()
	victim.Dst = netip.MustParseAddr("10.99.99.99")
	victim6 := packettest.UDP6()
	frames := merged(steady(0, 2*time.Second, 20000, spread), steady(time.Second, time.Second, 5000, always(victim)), steady(time.Second, time.Second, 4000, always(victim6)))
	attacks, sum, err := found(t, Options{File: write(t, frames), Networks: []string{"10.0.0.0/8", "2001:db8:2::/48"}, PPS: 1000})
	if err != nil || len(attacks) != 2 || sum.IPv6 != 4000 || sum.IPv4 != 45000 {
		t.Fatalf("%+v, %+v, %v", attacks, sum, err)
	}
	got := []string{attacks[0].Host, attacks[1].Host}
	slices.Sort(got)
	if diff := gocmp.Diff(got, []string{"10.99.99.99", "2001:db8:2::7"}); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

func TestSummary(t *testing.T) {
	arp := packettest.UDP4(packettest.Ethertype(packettest.TypeARP)).Bytes()
	v4, v6 := packettest.UDP4().Bytes(), packettest.TCP6().Bytes()
	_, sum, err := found(t, Options{File: write(t, []stamped{{0, arp}, {1, v4}, {2, v6}, {3, v4[:20]}, {4, v6[:5]}}), Networks: []string{"198.51.100.7"}})
	want := Summary{Packets: 5, Bytes: uint64(len(arp) + len(v4) + len(v6) + 20 + 5), IPv4: 1, IPv6: 1, Unparsed: 3}
	if diff := gocmp.Diff(sum, want); err != nil || diff != "" {
		t.Errorf("%v (-got +want)\n%s", err, diff)
	}
	if _, sum, err := found(t, Options{File: write(t), Networks: []string{"198.51.100.7"}}); err != nil || sum != (Summary{}) {
		t.Errorf("an empty capture: %+v, %v", sum, err)
	}
}

// A capture that breaks off is told as far as it goes.
func TestBrokenCapture(t *testing.T) {
	path := write(t, steady(0, time.Second, 5000, always(packettest.UDP4())))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)-3], 0o600); err != nil {
		t.Fatal(err)
	}
	attacks, sum, err := found(t, Options{File: path, Networks: []string{"198.51.100.0/24"}, PPS: 1000})
	if err == nil || !strings.Contains(err.Error(), path) || len(attacks) != 1 || sum.Packets != 4999 || sum.Attacks != 1 {
		t.Errorf("%+v, %+v, %v", attacks, sum, err)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	err := Run(ctx, Options{File: write(t, steady(0, time.Second, 100, always(packettest.UDP4()))), Networks: []string{"198.51.100.0/24"}}, &out)
	if !errors.Is(err, context.Canceled) || out.Len() > 0 {
		t.Errorf("%v, %q", err, out.String())
	}
}

func TestText(t *testing.T) {
	var out bytes.Buffer
	var done, size int64
	path := write(t, steady(0, time.Second, 10000, always(packettest.UDP4())))
	err := Run(t.Context(), Options{File: path, Networks: []string{"198.51.100.0/24"}, Mbps: 1, Progress: func(d, s int64) { done, size = d, s }}, &out)
	for _, want := range []string{"attack  198.51.100.7 incoming  detected ", "mbps: ", "10000 packets, ", "attacks: 1\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if err != nil || done == 0 || size == 0 {
		t.Errorf("%v; progress %d of %d", err, done, size)
	}
}

func TestRealAttacks(t *testing.T) {
	files, err := filepath.Glob("../../../shared/data/attacks/*.pcap*")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the collection of captures is not here")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			attacks, sum, err := found(t, Options{File: file, Networks: []string{"10.10.10.0/24"}, PPS: 500})
			if err != nil || len(attacks) != 1 || attacks[0].Host != "10.10.10.10" || attacks[0].Direction != traffic.Incoming.String() {
				t.Fatalf("%+v, %+v, %v", attacks, sum, err)
			}
			if a := attacks[0]; a.Started.After(a.Detected) || a.Detected.Sub(a.Started) > time.Second || sum.IPv4+sum.IPv6+sum.Unparsed != sum.Packets {
				t.Errorf("%+v, %+v", a, sum)
			}
		})
	}
}
