package replay

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		name    string
		options Options
		want    traffic.Limits
		given   bool
	}{
		{"FastNetMon's", Options{}, traffic.Limits{traffic.PPS: 20000, traffic.BPS: 1e9, traffic.FPS: 3500}, true},
		{"only what is given", Options{Mbps: 2.5}, traffic.Limits{traffic.BPS: 2.5e6}, true},
		{"the configuration's", Options{ConfigPath: "F"}, traffic.Limits{}, false},
		{"instead of the configuration's", Options{ConfigPath: "F", PPS: 5, Flows: 6}, traffic.Limits{traffic.PPS: 5, traffic.FPS: 6}, true},
	} {
		got, given := test.options.limits()
		if diff := cmp.Diff(got, test.want); diff != "" || given != test.given {
			t.Errorf("%s: given %v (-got +want)\n%s", test.name, given, diff)
		}
	}
}

const twoGroups = `
networks:
  prefixes: [192.0.2.0/24]
hostgroups:
  default:
    thresholds:
      incoming: {pps: 1000}
  web:
    networks: [192.0.2.128/25]
    thresholds:
      incoming: {pps: 5000}
`

func TestPolicyOfConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(path, []byte(twoGroups), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{ConfigPath: path}
	policy, members, err := o.policy()
	if err != nil {
		t.Fatal(err)
	}
	if len(policy.Groups) != 2 || len(members) != 2 || policy.WarmUp != 0 {
		t.Fatalf("%+v, %+v", policy, members)
	}
	if a, b := policy.Groups[0].Host[traffic.Incoming][traffic.PPS], policy.Groups[1].Host[traffic.Incoming][traffic.PPS]; a != 1000 || b != 5000 {
		t.Errorf("thresholds %v and %v", a, b)
	}
	o = Options{ConfigPath: path, Networks: []string{"192.0.2.192/26"}, PPS: 7}
	if policy, members, err = o.policy(); err != nil {
		t.Fatal(err)
	}
	if len(members) != 1 || members[0].Group != 1 || members[0].Prefix.String() != "192.0.2.192/26" {
		t.Errorf("networks given beside the configuration: %+v", members)
	}
	if got := policy.Groups[1].Host[traffic.Outgoing][traffic.PPS]; got != 7 {
		t.Errorf("threshold given beside the configuration: %v", got)
	}
}

func TestPolicyErrors(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.yaml")
	if err := os.WriteFile(empty, []byte("networks:\n  local_addresses: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		options Options
		want    string
	}{
		{Options{}, "give --networks CIDR[,CIDR] or --config FILE"},
		{Options{ConfigPath: empty}, "lists no networks"},
		{Options{ConfigPath: empty + ".none"}, "no such file"},
		{Options{Networks: []string{"192.0.2.1/24"}}, "host bits are set; expected 192.0.2.0/24"},
		{Options{Networks: []string{"nonsense"}}, `network "nonsense"`},
		{Options{Networks: []string{"192.0.2.0/24", ""}}, `network ""`},
		{Options{Networks: []string{"::ffff:10.0.0.0/104"}}, "expected an address or a prefix"},
	} {
		if _, _, err := test.options.policy(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.options, err, test.want)
		}
	}
}
