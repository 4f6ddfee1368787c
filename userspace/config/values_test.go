package config

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// refused is what a parser's table wants for a text that is no value.
const refused = -1

func TestParseDuration(t *testing.T) {
	tests := map[string]time.Duration{
		"0": 0, "0s": 0, "5s": 5 * time.Second, "500ms": 500 * time.Millisecond, "1.5h": 90 * time.Minute, "1h30m": 90 * time.Minute,
		"2d": 48 * time.Hour, "5 s": 5 * time.Second, "0.5ms": 500 * time.Microsecond, "1_000s": 1000 * time.Second,
		"": refused, "5": refused, "s": refused, "-5s": refused, "5S": refused, "5s ": refused, "1e3s": refused, "5s5": refused,
		"1..5s": refused, "_5s": refused, "5_s": refused, ".s": refused, "infs": refused, "9999999999d": refused, "5us": refused, "00": refused,
	}
	for text, want := range tests {
		got, ok := parseDuration(text)
		if !ok {
			got = refused
		}
		if got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 10 * time.Minute: "10m", time.Hour: "1h", 90 * time.Minute: "1h30m", 10 * time.Second: "10s",
		time.Hour + time.Second: "1h0m1s", 100 * time.Millisecond: "100ms", 110 * time.Second: "1m50s", 10 * time.Hour: "10h",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%d: got %q, want %q", d, got, want)
		}
		if back, ok := parseDuration(want); !ok || back != d {
			t.Errorf("%q: got %v, %v, want %v back", want, back, ok, d)
		}
	}
}

func TestParseNumbers(t *testing.T) {
	tests := []struct {
		name  string
		parse func(string) (float64, bool)
		want  map[string]float64
	}{
		{"rate", parseRate, map[string]float64{
			"0": 0, "20000": 20000, "20k": 20000, "1.5M": 1.5e6, "2 G": 2e9, "1_000": 1000, ".5": 0.5, "5.": 5, "007": 7,
			"": refused, "k": refused, "-1": refused, "+1": refused, "1e3": refused, "0x1": refused, "inf": refused, "NaN": refused,
			"1m": refused, "1K": refused, "1,5": refused, "1.2.3": refused, "off": refused, "１": refused,
		}},
		{"megabits", parseMegabits, map[string]float64{"1000": 1000, "0.25": 0.25, "10G": refused, "10k": refused, strings.Repeat("9", 400): refused}},
		{"ratio", parseRatio, map[string]float64{"0.8": 0.8, "80%": 0.8, "1": 1, "0": 0, "%": refused, "-0.1": refused}},
		{"count", func(text string) (float64, bool) { n, ok := parseCount(text); return float64(n), ok }, map[string]float64{
			"0": 0, "1000": 1000, "64k": 64000, "1.5k": 1500, "1.5": refused, "0.1k": 100, "0.0001k": refused, "3M": 3e6, "1G": refused,
			"2147483647": math.MaxInt32, "2147483648": refused, "-1": refused,
		}},
		{"size", func(text string) (float64, bool) { n, ok := parseSize(text); return float64(n), ok }, map[string]float64{
			"512MB": 512e6, "512MiB": 512 << 20, "1.5GB": 1.5e9, "2GiB": 2 << 30, "4KB": 4000, "4KiB": 4096, "1 MB": 1e6,
			"512": refused, "512M": refused, "512mb": refused, "MB": refused, "9999999999GB": refused, "-1MB": refused,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for text, want := range test.want {
				got, ok := test.parse(text)
				if !ok {
					got = refused
				}
				if math.Abs(got-want) > 1e-9*math.Abs(want) {
					t.Errorf("%q: got %v, want %v", text, got, want)
				}
			}
		})
	}
}

func TestParseBool(t *testing.T) {
	for text, want := range map[string][2]bool{
		"true": {true, true}, "yes": {true, true}, "on": {true, true}, "false": {false, true}, "no": {false, true}, "off": {false, true},
		"": {}, "1": {}, "True": {}, "y": {},
	} {
		if value, ok := parseBool(text); [2]bool{value, ok} != want {
			t.Errorf("%q: got %v, %v, want %v", text, value, ok, want)
		}
	}
}

func TestParsePrefix(t *testing.T) {
	tests := map[string]string{ // the prefix, or what the error says
		"192.0.2.0/24":     "192.0.2.0/24",
		"0.0.0.0/0":        "0.0.0.0/0",
		"192.0.2.1":        "192.0.2.1/32",
		"2001:DB8:0::/48":  "2001:db8::/48",
		"::/0":             "::/0",
		"2001:db8::1":      "2001:db8::1/128",
		"10.0.0.1/24":      "10.0.0.1/24 has host bits set; did you mean 10.0.0.0/24?",
		"2001:db8::1/0":    "2001:db8::1/0 has host bits set; did you mean ::/0?",
		"010.0.0.0/8":      `"010.0.0.0/8" is not a network; expected CIDR such as 192.0.2.0/24 or 2001:db8::/32, or an address`,
		"/24":              `"/24" is not a network; expected CIDR such as 192.0.2.0/24 or 2001:db8::/32, or an address`,
		"192.0.2.0/+24":    `"+24" in "192.0.2.0/+24" is not a prefix length; expected a number such as 24`,
		"192.0.2.0/24/24":  `"24/24" in "192.0.2.0/24/24" is not a prefix length; expected a number such as 24`,
		"192.0.2.0/65536":  `"65536" in "192.0.2.0/65536" is not a prefix length; expected a number such as 24`,
		"192.0.2.0/33":     "prefix length 33 in 192.0.2.0/33 is too long; expected at most 32",
		"::ffff:192.0.2.1": "::ffff:192.0.2.1 is an IPv4 address in IPv6 notation; write it as IPv4, starting with 192.0.2.1",
		"fe80::1%lo/64":    "fe80::1%lo/64 has a zone; leave out %lo",
	}
	for text, want := range tests {
		prefix, err := ParsePrefix(text)
		got := prefix.String()
		if err != nil {
			got = err.Error()
			if prefix.IsValid() {
				t.Errorf("%q: got %v and an error", text, prefix)
			}
		}
		if got != want {
			t.Errorf("%q:\ngot  %s\nwant %s", text, got, want)
		}
	}
}

func TestParseList(t *testing.T) {
	text := "\ufeff192.0.2.0/24\r\n\n# comment\n\t 198.51.100.7 # host\n2001:db8::/32#v6\nä ü\n  ü 10.0.0.0/8\n10.0.0.0/8 ü\n10.1.0.0/8"
	list, errs := parseList("own.list", text)
	wantList := []placed{
		{netip.MustParsePrefix("192.0.2.0/24"), place{"own.list", 1, 1}},
		{netip.MustParsePrefix("198.51.100.7/32"), place{"own.list", 4, 3}},
		{netip.MustParsePrefix("2001:db8::/32"), place{"own.list", 5, 1}},
	}
	wantErrs := Errors{
		{"own.list", 6, 3, "unexpected text behind ä; expected one network per line"},
		{"own.list", 7, 5, "unexpected text behind ü; expected one network per line"},
		{"own.list", 8, 12, "unexpected text behind 10.0.0.0/8; expected one network per line"},
		{"own.list", 9, 1, "10.1.0.0/8 has host bits set; did you mean 10.0.0.0/8?"},
	}
	if diff := cmp.Diff(list, wantList, cmp.AllowUnexported(placed{}, place{}), compareNet); diff != "" {
		t.Errorf("networks (-got +want)\n%s", diff)
	}
	if diff := cmp.Diff(errs, wantErrs); diff != "" {
		t.Errorf("errors (-got +want)\n%s", diff)
	}
}
