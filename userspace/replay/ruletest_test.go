package replay

import (
	"context"
	"errors"
	"testing"
	"time"

	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

func TestRuleOnCapture(t *testing.T) {
	file := write(t, steady(0, time.Second, 300, always(packettest.UDP4(packettest.Between("198.51.100.1", "192.0.2.7"), packettest.Port(53)))),
		steady(0, time.Second, 100, always(packettest.UDP4(packettest.Between("198.51.100.1", "192.0.2.8"), packettest.Port(80)))))
	for text, matched := range map[string]uint64{
		"destination 192.0.2.7/32 protocol udp then discard":        300,
		"destination 192.0.2.0/24 destination-port 80 then discard": 100,
		"protocol tcp then discard":                                 0,
	} {
		rule, err := traffic.ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := TestRule(t.Context(), rule, file)
		if err != nil || got.Packets != 400 || got.Matched != matched || got.Share != float64(matched)/400 || got.Unparsed != 0 || got.Rule != rule.String() {
			t.Errorf("%s: got %+v, %v; want %d of 400", text, got, err, matched)
		}
		if matched > 0 && got.MatchedBytes*400 != got.Bytes*matched {
			t.Errorf("%s: %d of %d bytes", text, got.MatchedBytes, got.Bytes)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := TestRule(ctx, traffic.Rule{}, file); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if _, err := TestRule(t.Context(), traffic.Rule{}, file+".missing"); err == nil {
		t.Error("a file that is not there is no error")
	}
}
