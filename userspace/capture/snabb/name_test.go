package snabb

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct {
		text string
		want target
		err  string
	}{
		{text: "eth1", want: target{"raw", []string{"eth1"}}},
		{text: "raw:eth1.7", want: target{"raw", []string{"eth1.7"}}},
		{text: "tap:weir0", want: target{"tap", []string{"weir0"}}},
		{text: "pcap:/var/a:b.pcap", want: target{"pcap", []string{"/var/a:b.pcap"}}},
		{text: "app:apps.tap.tap:Tap:output:{name='a:b'}", want: target{"app", []string{"apps.tap.tap", "Tap", "output", "{name='a:b'}"}}},
		{text: "app:m:C:out", want: target{"app", []string{"m", "C", "out", "nil"}}},
		{text: "firehose:0000:04:00.0", want: target{"firehose", []string{"0000:04:00.0"}}},
		{text: "0000:04:00.1", want: target{"firehose", []string{"0000:04:00.1"}}},
		{text: "ring:/dev/shm/weir-0", want: target{"ring", []string{"/dev/shm/weir-0"}}},
		{text: "", err: "no name of an interface"},
		{text: "raw:", err: "no name of an interface"},
		{text: "raw:averylonginterface", err: "no name of an interface"},
		{text: "raw:a/b", err: "no name of an interface"},
		{text: "pcap:", err: "no file; expected pcap:PATH"},
		{text: "ring:", err: "no file; expected ring:PATH"},
		{text: "firehose:eth1", err: "expected a PCI address"},
		{text: "firehose:04:00.0", err: "expected a PCI address"},
		{text: "app:m:C", err: "expected app:MODULE:CLASS:PORT:LUA-EXPRESSION"},
		{text: "app::C:p:1", err: "expected app:MODULE:CLASS:PORT:LUA-EXPRESSION"},
		{text: "eth1:0", err: `unknown kind "eth1"; expected raw:INTERFACE`},
	} {
		got, err := parseTarget(tt.text)
		if diff := cmp.Diff(got, tt.want, cmp.AllowUnexported(target{})); diff != "" {
			t.Errorf("%q (-got +want)\n%s", tt.text, diff)
		}
		if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: got error %v, want %q", tt.text, err, tt.err)
		}
	}
}
