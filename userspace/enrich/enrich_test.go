//go:build !386

// The writer of databases does not compile where an int has 32 bits.

package enrich

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"weir/userspace/traffic"
)

// database writes a file of records by prefix and returns its path.
func database(t *testing.T, path string, records map[string]mmdbtype.Map) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test", RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for prefix, record := range records {
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, record); err != nil {
			t.Fatal(err)
		}
	}
	var content bytes.Buffer
	if _, err := tree.WriteTo(&content); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func as(number uint32, name string) mmdbtype.Map {
	return mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(number), "autonomous_system_organization": mmdbtype.String(name)}
}

func country(key, code string) mmdbtype.Map {
	return mmdbtype.Map{mmdbtype.String(key): mmdbtype.Map{"iso_code": mmdbtype.String(code), "geoname_id": mmdbtype.Uint32(7)}}
}

func fill(e *Enricher, addresses ...string) []traffic.SourceShare {
	var list []traffic.SourceShare
	for _, a := range addresses {
		list = append(list, traffic.SourceShare{Source: netip.MustParseAddr(a)})
	}
	e.Fill(context.Background(), list)
	return list
}

var comparable = cmpopts.EquateComparable(netip.Addr{})

// TestFiles: facts come from whichever file has them, in the form of MaxMind's databases and of others.
func TestFiles(t *testing.T) {
	folder := t.TempDir()
	e, err := New(Options{Files: []string{
		database(t, filepath.Join(folder, "asn.mmdb"), map[string]mmdbtype.Map{"192.0.2.0/24": as(64500, "Example Net"), "2001:db8::/32": as(4200000001, "Six")}),
		database(t, filepath.Join(folder, "country.mmdb"), map[string]mmdbtype.Map{"192.0.2.0/25": country("country", "NL"), "192.0.2.128/25": country("registered_country", "BE")}),
		database(t, filepath.Join(folder, "other.mmdb"), map[string]mmdbtype.Map{
			"198.51.100.0/24": {"asn": mmdbtype.String("AS64511"), "as_name": mmdbtype.String("Other"), "country_code": mmdbtype.String("de")},
			"203.0.113.0/24":  {"asn": mmdbtype.String("none"), "country": mmdbtype.Uint32(7)},
		}),
	}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	got := fill(e, "192.0.2.1", "192.0.2.200", "2001:db8::7", "198.51.100.9", "203.0.113.1", "10.0.0.1", "::ffff:192.0.2.1")
	want := []traffic.SourceShare{
		{AS: 64500, ASName: "Example Net", Country: "NL"}, {AS: 64500, ASName: "Example Net", Country: "BE"}, {AS: 4200000001, ASName: "Six"},
		{AS: 64511, ASName: "Other", Country: "DE"}, {}, {}, {AS: 64500, ASName: "Example Net", Country: "NL"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(traffic.SourceShare{}, "Source"), comparable); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestRefresh: a file that has changed is read again; one that is broken or gone stays as it was.
func TestRefresh(t *testing.T) {
	path := filepath.Join(t.TempDir(), "asn.mmdb")
	var log bytes.Buffer
	e, err := New(Options{Files: []string{database(t, path, map[string]mmdbtype.Map{"192.0.2.0/24": as(1, "One")})}}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, number uint32) {
		t.Helper()
		e.Refresh()
		if got := fill(e, "192.0.2.1")[0].AS; got != number {
			t.Errorf("%s: AS%d, want AS%d", what, got, number)
		}
	}
	check("nothing has changed", 1)
	database(t, path, map[string]mmdbtype.Map{"192.0.2.0/24": as(2, "Two, which is longer")})
	check("another file", 2)
	if err := os.WriteFile(path, []byte("half of a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("a broken file", 2)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check("no file", 2)
	if n := strings.Count(log.String(), "stays as it was"); n != 2 {
		t.Errorf("%d complaints, want 2:\n%s", n, log.String())
	}
}

func TestNewRefuses(t *testing.T) {
	folder := t.TempDir()
	broken := filepath.Join(folder, "broken.mmdb")
	if err := os.WriteFile(broken, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{broken: "expected a file in MaxMind's format", filepath.Join(folder, "none"): "no such file"} {
		if _, err := New(Options{Files: []string{path}}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

// resolver stands for a name server: which real ones answer for an address, no test can choose.
type resolver struct {
	mu    sync.Mutex
	asked []string
	hangs bool
}

func (r *resolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	r.mu.Lock()
	r.asked = append(r.asked, addr)
	r.mu.Unlock()
	switch {
	case r.hangs:
		<-ctx.Done()
		return nil, ctx.Err()
	case addr == "192.0.2.1":
		return []string{"host.example.", "other.example."}, nil
	case addr == "192.0.2.2":
		return []string{"evil\x1b[2J<script>."}, nil
	}
	return nil, errors.New("no such host")
}

// TestNames: names are asked for once, are harmless, and take no longer than they may.
func TestNames(t *testing.T) {
	r := &resolver{}
	e, err := New(Options{Names: true, Resolver: r, NameCache: 3}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	names := func(addresses ...string) (list []string) {
		for _, s := range fill(e, addresses...) {
			list = append(list, s.Name)
		}
		return list
	}
	for range 2 {
		if diff := cmp.Diff([]string{"host.example", "", ""}, names("192.0.2.1", "192.0.2.2", "192.0.2.3")); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	if len(r.asked) != 3 {
		t.Errorf("asked for %v, want each once", r.asked)
	}
	names("192.0.2.4", "192.0.2.5", "192.0.2.6")
	names("192.0.2.1")
	if len(r.asked) != 7 {
		t.Errorf("asked for %v, want the first one again: only three are remembered", r.asked)
	}
	r.hangs = true
	e.names.timeout = 10 * time.Millisecond
	if got := names("192.0.2.9"); got[0] != "" {
		t.Errorf("got %q of a server that hangs", got)
	}
	r.hangs = false
	e.names.timeout = DefaultNameTimeout
	if _, known := e.names.get(netip.MustParseAddr("192.0.2.9")); known {
		t.Error("no answer counts as an answer")
	}
}
