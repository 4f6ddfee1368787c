package netmap

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePort(t *testing.T) {
	for _, tt := range []struct {
		text   string
		want   port
		device string // whose promiscuous mode matters
		err    string
	}{
		{text: "eth1", want: port{name: "eth1", nic: true}, device: "eth1"},
		{text: "netmap:eth1", want: port{name: "eth1", nic: true}, device: "eth1"},
		{text: "netmap:eth1-0", want: port{name: "eth1", nic: true, rings: []int{0}}, device: "eth1"},
		{text: "eth1-12", want: port{name: "eth1", nic: true, rings: []int{12}}, device: "eth1"},
		{text: "br-lan", want: port{name: "br-lan", nic: true}, device: "br-lan"},
		{text: "br-lan-3", want: port{name: "br-lan", nic: true, rings: []int{3}}, device: "br-lan"},
		{text: "eth1^", want: port{name: "eth1", host: true}, device: "eth1"},
		{text: "eth1*", want: port{name: "eth1", host: true, nic: true}, device: "eth1"},
		{text: "vale0:1", want: port{name: "vale0:1", nic: true}},
		{text: "netmap:vale0:mirror-2", want: port{name: "vale0:mirror", nic: true, rings: []int{2}}},
		{text: "eth1{3", want: port{name: "eth1{3", nic: true}, device: "eth1"},
		{text: "eth1}3", want: port{name: "eth1}3", nic: true}, device: "eth1"},
		{text: "vale0:1{7-1", want: port{name: "vale0:1{7", nic: true, rings: []int{1}}},
		{text: "", err: "no name"},
		{text: "netmap:", err: "no name"},
		{text: "^", err: "no name"},
		{text: "eth1/x", err: "flags behind a slash"},
		{text: "eth1^^", err: "one suffix"},
		{text: "eth1*^", err: "one suffix"},
		{text: "eth1+", err: "one suffix"},
		{text: "eth 1", err: "one suffix"},
		{text: strings.Repeat("x", 64), err: "longer than 63 bytes"},
	} {
		got, err := parsePort(tt.text)
		if diff := cmp.Diff(got, tt.want, cmp.AllowUnexported(port{})); diff != "" {
			t.Errorf("%q (-got +want)\n%s", tt.text, diff)
		}
		if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: got error %v, want %q", tt.text, err, tt.err)
		}
		if device := got.device(); err == nil && device != tt.device {
			t.Errorf("%q: stands on %q, want %q", tt.text, device, tt.device)
		}
	}
}

// Host rings take this machine's own traffic: only whoever says so twice gets them.
func TestHostRingsAreRefused(t *testing.T) {
	for _, name := range []string{"eth1^", "eth1*"} {
		if _, err := Open(Options{Interface: name}); err == nil || !strings.Contains(err.Error(), "set host_rings to allow that") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
