package bgp

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gobgp "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

func TestUpdateFault(t *testing.T) {
	for _, tt := range []struct {
		name string
		body []byte
		want string
	}{
		{"End-of-RIB", []byte{0, 0, 0, 0}, ""},
		{"all parts", []byte{0, 2, 8, 10, 0, 4, 0x40, 1, 1, 0, 24, 198, 51, 100, 0}, ""},
		{"extended length", []byte{0, 0, 0, 5, 0x50, 1, 0, 1, 0}, ""},
		{"withdrawn", []byte{0, 1, 0, 0}, "withdrawn routes run past its end"},
		{"attributes", []byte{0, 0, 0, 1}, "path attributes run past its end"},
		{"attribute head", []byte{0, 0, 0, 2, 0x40, 1}, "a path attribute is cut off"},
		{"attribute extended head", []byte{0, 0, 0, 3, 0x50, 1, 0}, "a path attribute is cut off"},
		{"attribute value", []byte{0, 0, 0, 3, 0x40, 1, 1}, "a path attribute runs past the others' end"},
		{"prefix too long", []byte{0, 0, 0, 0, 33, 1, 2, 3, 4, 5}, "a prefix is malformed"},
		{"prefix cut off", []byte{0, 0, 0, 0, 24, 1, 2}, "a prefix is malformed"},
		{"withdrawn prefix", []byte{0, 1, 8, 0, 0}, "a prefix is malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := updateFault(tt.body); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// openBody is an OPEN's body with the given optional parameters.
func openBody(parameters ...byte) []byte {
	return append([]byte{4, 0xfd, 0xe9, 0, 90, 192, 0, 2, 9, byte(len(parameters))}, parameters...)
}

func TestParseOpen(t *testing.T) {
	plain := opening{version: 4, as: 65001, holdTime: 90 * time.Second, routerID: netip.MustParseAddr("192.0.2.9")}
	with := func(change func(o *opening)) opening {
		o := plain
		change(&o)
		return o
	}
	many := append([]byte{255, 0, 9, 2, 0, 6}, 1, 4, 0, 1, 0, 1)
	for _, tt := range []struct {
		name string
		body []byte
		want opening
		err  string
	}{
		{"no capabilities", openBody(), with(func(o *opening) { o.families = []Family{IPv4Unicast} }), ""},
		{"families, ours and others", openBody(2, 6, 1, 4, 0, 2, 0, 133, 2, 6, 1, 4, 0, 25, 0, 70), with(func(o *opening) {
			o.families = []Family{IPv6FlowSpec}
			o.capabilities = []capability{{1, []byte{0, 2, 0, 133}}}
		}), ""},
		{"several in one parameter, with what nobody needs", openBody(2, 12, 2, 0, 65, 4, 0, 1, 0, 0, 73, 2, 'a', 'b'), with(func(o *opening) {
			o.families, o.as = []Family{IPv4Unicast}, 65536
			o.capabilities = []capability{{2, []byte{}}, {65, []byte{0, 1, 0, 0}}}
		}), ""},
		{"graceful restart", openBody(2, 16, 1, 4, 0, 1, 0, 1, 64, 6, 0, 120, 0, 1, 1, 0x80, 71, 0), with(func(o *opening) {
			o.families = []Family{IPv4Unicast}
			o.capabilities = []capability{{1, []byte{0, 1, 0, 1}}, {64, []byte{0, 120, 0, 1, 1, 0x80}}, {71, []byte{}}}
		}), ""},
		{"extended length", append([]byte{4, 0xfd, 0xe9, 0, 90, 192, 0, 2, 9, 255}, many...), with(func(o *opening) {
			o.families, o.capabilities = []Family{IPv4Unicast}, []capability{{1, []byte{0, 1, 0, 1}}}
		}), ""},
		{"extended length is wrong", append([]byte{4, 0xfd, 0xe9, 0, 90, 192, 0, 2, 9, 255, 255, 0, 8}, many[3:]...), opening{}, "malformed OPEN message"},
		{"length is wrong", append(openBody(), 2), opening{}, "malformed OPEN message"},
		{"parameter cut off", openBody(2), opening{}, "malformed OPEN message"},
		{"capability cut off", openBody(2, 3, 1, 4, 0), opening{}, "malformed OPEN message"},
		{"family", openBody(2, 5, 1, 3, 0, 1, 0), opening{}, "malformed OPEN message"},
		{"route refresh", openBody(2, 3, 2, 1, 0), opening{}, "malformed OPEN message"},
		{"graceful restart of odd length", openBody(2, 5, 64, 3, 0, 120, 0), opening{}, "malformed OPEN message"},
		{"AS", openBody(2, 5, 65, 3, 0, 1, 0), opening{}, "malformed OPEN message"},
		{"long-lived graceful restart", openBody(2, 3, 71, 1, 0), opening{}, "malformed OPEN message"},
		{"authentication", openBody(1, 1, 0), opening{}, "OPEN message with unknown optional parameter 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, err := parseOpen(tt.body)
			if tt.err != "" {
				var bad *refusal
				if !errors.As(err, &bad) || bad.Error() != tt.err || bad.code != 2 {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(*o, tt.want, cmp.AllowUnexported(opening{}, capability{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}

// What GoBGP is given means what the peer has said, and what the peer is given has its bits.
func TestOpenAnew(t *testing.T) {
	o, err := parseOpen(openBody(2, 26, 1, 4, 0, 1, 0, 1, 65, 4, 0, 1, 0, 0, 64, 6, 0x80, 120, 0, 1, 1, 0, 73, 4, 1, 'a', 1, 'b'))
	if err != nil {
		t.Fatal(err)
	}
	again, err := parseOpen(o.message()[headerBytes:])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(again, o, cmp.AllowUnexported(opening{}, capability{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if as := o.message()[headerBytes+1 : headerBytes+3]; !bytes.Equal(as, []byte{0x5b, 0xa0}) {
		t.Errorf("an AS of four octets is written as % x, want 23456", as)
	}

	m, err := gobgp.NewBGPOpenMessage(65000, 90, "192.0.2.1", []gobgp.OptionParameterInterface{
		gobgp.NewOptionParameterCapability([]gobgp.ParameterCapabilityInterface{
			gobgp.NewCapRouteRefresh(),
			gobgp.NewCapGracefulRestart(false, true, 120, []*gobgp.CapGracefulRestartTuple{gobgp.NewCapGracefulRestartTuple(gobgp.RF_IPv4_UC, false), gobgp.NewCapGracefulRestartTuple(gobgp.RF_FS_IPv6_UC, false)}),
			gobgp.NewCapLongLivedGracefulRestart([]*gobgp.CapLongLivedGracefulRestartTuple{gobgp.NewCapLongLivedGracefulRestartTuple(gobgp.RF_IPv4_UC, false, 3600)}),
		}),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	for _, restarting := range []bool{true, false} {
		markGraceful(m, restarting)
		parsed, err := gobgp.ParseBGPMessage(m)
		if err != nil {
			t.Fatal(err)
		}
		capabilities := parsed.Body.(*gobgp.BGPOpen).OptParams[0].(*gobgp.OptionParameterCapability).Capability
		gr, ll := capabilities[1].(*gobgp.CapGracefulRestart), capabilities[2].(*gobgp.CapLongLivedGracefulRestart)
		if gr.Time != 120 || gr.Flags&0x4 == 0 || (gr.Flags&0x8 != 0) != restarting {
			t.Errorf("restarting %v: flags %x, time %d", restarting, gr.Flags, gr.Time)
		}
		if gr.Tuples[0].Flags != 0x80 || gr.Tuples[1].Flags != 0x80 || ll.Tuples[0].Flags != 0x80 || ll.Tuples[0].RestartTime != 3600 {
			t.Errorf("restarting %v: %+v %+v %+v", restarting, gr.Tuples[0], gr.Tuples[1], ll.Tuples[0])
		}
	}
}

func TestWords(t *testing.T) {
	own, peer := &Config{AS: 65000}, &Peer{AS: 65001}
	for _, tt := range []struct{ got, want string }{
		{notice{1, 2, nil}.String(), "Message Header Error / Bad Message Length"},
		{notice{6, 2, []byte("\x03now")}.String(), `Cease / Administrative Shutdown: "now"`},
		{notice{6, 4, []byte("\x09now")}.String(), "Cease / Administrative Reset"},
		{notice{6, 2, []byte{1, 0xff}}.String(), "Cease / Administrative Shutdown"},
		{notice{6, 2, []byte("\x05\x1b[31m")}.String(), `Cease / Administrative Shutdown: "\x1b[31m"`},
		{notice{3, 77, nil}.String(), "UPDATE Message Error / subcode 77"},
		{notice{99, 1, nil}.String(), "code 99 / subcode 1"},
		{notice{4, 0, nil}.String(), "Hold Timer Expired"},
		{parseNotice(nil).String(), "code 0"},
		{notice{2, 2, nil}.received(own), "the peer sent NOTIFICATION OPEN Message Error / Bad Peer AS: it does not expect AS 65000"},
		{notice{6, 5, nil}.received(own), "the peer sent NOTIFICATION Cease / Connection Rejected: it does not know us by this address, or does not want us now"},
		{notice{2, 2, nil}.sent(peer, &opening{as: 7}), "NOTIFICATION sent to the peer: OPEN Message Error / Bad Peer AS: the peer is AS 7, the configuration says 65001"},
		{notice{4, 0, nil}.sent(peer, nil), "NOTIFICATION sent to the peer: Hold Timer Expired: nothing was heard of it for that long"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

// Whatever a peer sends is a message or an error, and never more than it may be. What passes as an OPEN is one for GoBGP as well.
func FuzzPeer(f *testing.F) {
	f.Add(message(typeKeepAlive, nil))
	f.Add(message(typeOpen, openBody(2, 16, 1, 4, 0, 1, 0, 1, 64, 6, 0, 120, 0, 1, 1, 0x80, 71, 0)))
	f.Add(message(typeUpdate, []byte{0, 2, 8, 10, 0, 4, 0x40, 1, 1, 0, 24, 198, 51, 100}))
	f.Add((&notice{6, 2, []byte("\x05later")}).message())
	f.Add(append(message(typeRefresh, []byte{0, 1, 0, 1}), message(typeKeepAlive, nil)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, buf := bytes.NewReader(data), make([]byte, messageBytes)
		for {
			m, err := readMessage(in, buf)
			if err != nil {
				return
			}
			switch body := m[headerBytes:]; m[18] {
			case typeOpen:
				o, err := parseOpen(body)
				if err != nil {
					continue
				}
				if _, err := gobgp.ParseBGPMessage(o.message()); err != nil {
					t.Fatalf("GoBGP cannot read % x: %v", o.message(), err)
				}
			case typeUpdate:
				updateFault(body)
			case typeNotification:
				if s := parseNotice(body).String(); strings.ContainsAny(s, "\n\x1b\x00") {
					t.Fatalf("%q", s)
				}
			}
			markGraceful(bytes.Clone(m), true)
		}
	})
}
