package demo

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tell tells the same short story in one of the teller's ways.
func tell(opts Options) string {
	var out strings.Builder
	opts.Out = &out
	t := newTeller(opts)
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	t.follow(func() time.Time { return clock })
	t.say("attack", "the flood begins")
	for range 5 {
		clock = clock.Add(400 * time.Millisecond)
		t.measured(measurement{IncomingPPS: 1.5e6, DroppedPPS: 25_000, Leaked: 7, VictimOK: 1, VictimFailed: 2, NeighbourOK: 3})
	}
	t.say("dropped", "the drop is in force")
	t.summary(Summary{Event: "summary", Passed: true, DetectedMS: 12.34, DroppedMS: -1, LeakedPackets: 7, AttackPPS: 300, VictimOK: true})
	return out.String()
}

func TestTeller(t *testing.T) {
	const measured = "to the victim 1.50 Mpps, dropped 25 kpps, leaked 7 | served: victim 1 (2 lost), neighbour 3 (0 lost)"
	const end = " Flood of 300 pps; detected after 12.3 ms, never dropped; 7 packets leaked; " +
		"the victim's network was served all along, and the victim again after it.\n"
	traffic := func(seconds string) string {
		return `{"event":"traffic","seconds":` + seconds + `,"incoming_pps":1500000,"dropped_pps":25000,"leaked_packets":7,` +
			`"victim_ok":1,"victim_failed":2,"neighbour_ok":3,"neighbour_failed":0}` + "\n"
	}
	drawn := func(seconds string) string { return clearLine + "  " + seconds + " s  " + measured }
	tests := []struct {
		name string
		opts Options
		want string
	}{
		{"text: a measurement a second", Options{}, "" +
			"  0.00 s  the flood begins\n" +
			"  0.40 s  " + measured + "\n" +
			"  1.60 s  " + measured + "\n" +
			"  2.00 s  the drop is in force\n" +
			"\nDemo passed." + end},
		{"terminal: a line drawn again and again", Options{Terminal: true}, "" +
			red + "  0.00 s  the flood begins" + plain + "\n" +
			drawn("0.40") + drawn("0.80") + drawn("1.20") + drawn("1.60") + drawn("2.00") + "\n" +
			green + "  2.00 s  the drop is in force" + plain + "\n" +
			"\n" + green + "Demo passed." + plain + end},
		{"json", Options{JSON: true, Terminal: true}, "" +
			`{"event":"attack","seconds":0,"text":"the flood begins"}` + "\n" +
			traffic("0.4") + traffic("0.8") + traffic("1.2") + traffic("1.6") + traffic("2") +
			`{"event":"dropped","seconds":2,"text":"the drop is in force"}` + "\n" +
			`{"event":"summary","passed":true,"detected_ms":12.34,"dropped_ms":-1,"leaked_packets":7,"attack_pps":300,"victim_ok":true}` + "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tell(tt.opts), tt.want); diff != "" {
				t.Errorf("output (-got +want):\n%s", diff)
			}
		})
	}
}

func TestTellerOfRouter(t *testing.T) {
	for _, tt := range []struct {
		ms         float64
		text, json string
	}{
		{2.5, "dropped after 2.0 ms, in the router's table 2.5 ms after detection; 0 packets", `"bgp_ms":2.5`},
		{-1, "dropped after 2.0 ms, never announced to the router; 0 packets", `"bgp_ms":-1`},
	} {
		for _, inJSON := range []bool{false, true} {
			var out strings.Builder
			newTeller(Options{Out: &out, JSON: inJSON}).summary(Summary{DetectedMS: 1, DroppedMS: 2, BGPMS: &tt.ms})
			want := tt.text
			if inJSON {
				want = tt.json
			}
			if !strings.Contains(out.String(), want) {
				t.Errorf("got %q, want %q in it", out.String(), want)
			}
		}
	}
}

type brokenPipe struct{}

var errBroken = errors.New("broken pipe")

func (brokenPipe) Write([]byte) (int, error) { return 0, errBroken }

func TestRunReportsOutputErrors(t *testing.T) {
	if _, err := Run(t.Context(), Options{Out: brokenPipe{}, UserSpace: true}); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want the writer's error", err)
	}
}
