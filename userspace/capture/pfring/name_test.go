package pfring

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDevice(t *testing.T) {
	one := []string{"eth1"}
	for _, tt := range []struct {
		text string
		want device
		err  string
	}{
		{text: "eth1", want: device{interfaces: one, channels: allChannels}},
		{text: "eth1.7", want: device{interfaces: []string{"eth1.7"}, channels: allChannels}},
		{text: "eth1,eth2", want: device{interfaces: []string{"eth1", "eth2"}, channels: allChannels}},
		{text: "eth1@0", want: device{interfaces: one, channels: 1}},
		{text: "eth1@0-3,5", want: device{interfaces: one, channels: 0b101111}},
		{text: "eth1@63", want: device{interfaces: one, channels: 1 << 63}},
		{text: "eth1,eth2@1", want: device{interfaces: []string{"eth1", "eth2"}, channels: 2}},
		{text: "zc:eth1", want: device{library: "zc:eth1"}},
		{text: "zc:99@0", want: device{library: "zc:99@0"}},
		{text: "nt:stream0", want: device{library: "nt:stream0"}},
		{text: "", err: "expected interfaces separated by commas"},
		{text: "eth1,", err: "expected interfaces separated by commas"},
		{text: "@0", err: "expected interfaces separated by commas"},
		{text: "averylonginterface", err: "expected interfaces separated by commas"},
		{text: "eth1@", err: "is no queue"},
		{text: "eth1@x", err: "is no queue"},
		{text: "eth1@64", err: "is no queue"},
		{text: "eth1@3-1", err: "is no queue"},
		{text: "eth1@1-", err: "is no queue"},
	} {
		got, err := parseDevice(tt.text)
		if diff := cmp.Diff(got, tt.want, cmp.AllowUnexported(device{})); diff != "" {
			t.Errorf("%q (-got +want)\n%s", tt.text, diff)
		}
		if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: got error %v, want %q", tt.text, err, tt.err)
		}
	}
}
