package netsource

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareNet = cmpopts.EquateComparable(netip.Prefix{})

func prefixes(texts ...string) []netip.Prefix {
	all := []netip.Prefix{}
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

const veip = `Version: 2.1
                             192.0.2.10        101
                              192.0.2.9        102
                   2001:db8:0:0:0:0:0:a        101
                            192.0.2.10     6a1c-uuid
`

func TestReadOpenVZ(t *testing.T) {
	tests := map[string]struct {
		text string
		want []netip.Prefix
		err  string // what the error ends with
	}{
		"both families":   {veip, prefixes("192.0.2.9/32", "192.0.2.10/32", "2001:db8::a/128"), ""},
		"no container":    {"Version: 2.1\n", prefixes(), ""},
		"empty":           {"", prefixes(), ""},
		"no last newline": {"192.0.2.1 1", prefixes("192.0.2.1/32"), ""},
		"no container id": {"Version: 2.1\n192.0.2.1\n", nil, `:2: expected an address and a container, got "192.0.2.1"`},
		"three words":     {"192.0.2.1 1 2\n", nil, `:1: expected an address and a container, got "192.0.2.1 1 2"`},
		"no address":      {"Version: 2.1\n\n192.0.2 1\n", nil, `:3: expected an address, got "192.0.2"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "veip")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := ReadOpenVZ(path)
			if (err != nil) != (test.err != "") || (err != nil && !strings.HasSuffix(err.Error(), path+test.err)) {
				t.Errorf("got error %v, want one that ends with %q", err, test.err)
			}
			if diff := cmp.Diff(got, test.want, compareNet); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
	if _, err := ReadOpenVZ(filepath.Join(t.TempDir(), "veip")); err == nil || !strings.Contains(err.Error(), "networks.openvz") {
		t.Errorf("got %v without a list, want an error that names the remedy", err)
	}
}

// happened is what a source does, in order: its log and its updates. It holds all of a test's, so that nobody waits for the test.
type happened chan string

func (h happened) Write(line []byte) (int, error) {
	h <- string(line)
	return len(line), nil
}

func (h happened) update(now []netip.Prefix) { h <- fmt.Sprint(now) }

// TestOpenVZ follows a list through changes, an unreadable state and back. A tick may be served before or after the change that follows
// it; the order of what happens is the same.
func TestOpenVZ(t *testing.T) {
	path := filepath.Join(t.TempDir(), "veip")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(veip)
	ticks, events := make(chan time.Time), make(happened, 100)
	source := NewOpenVZ(path, ticks, slog.New(slog.NewTextHandler(events, nil)), events.update)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx) }()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-events:
			if !strings.Contains(got, want) {
				t.Fatalf("got %q, want %q", got, want)
			}
		case err := <-ended:
			t.Fatalf("ended with %v, want %q", err, want)
		}
	}
	expect("[192.0.2.9/32 192.0.2.10/32 2001:db8::a/128]")
	ticks <- time.Time{} // nothing has changed
	write("192.0.2.9 102\n")
	ticks <- time.Time{}
	expect("[192.0.2.9/32]")
	write("Version: 2.1\n")
	source.Reread()
	source.Reread()
	expect("[]")
	write("broken\n")
	ticks <- time.Time{}
	expect("cannot be read")
	ticks <- time.Time{} // still broken: said once
	write("192.0.2.7 1\n")
	ticks <- time.Time{}
	expect("can be read again")
	expect("[192.0.2.7/32]")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("got %v at the end", err)
	}
	if len(events) > 0 {
		t.Errorf("got %q after all", <-events)
	}
}

func FuzzParseVEIP(f *testing.F) {
	f.Add([]byte(veip))
	f.Add([]byte("192.0.2.1"))
	f.Add([]byte("fe80::1%eth0 1\n::ffff:192.0.2.1 2"))
	f.Fuzz(func(t *testing.T, data []byte) {
		addrs, err := parseVEIP(data)
		if err != nil && addrs != nil {
			t.Errorf("got %v and %v", addrs, err)
		}
		for _, p := range singles(addrs) {
			if !p.IsValid() || !p.IsSingleIP() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
				t.Errorf("got %v", p)
			}
		}
	})
}
