package decide

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/userspace/traffic"
)

func now() time.Time { return time.Date(2026, 1, 2, 12, 0, 0, 500_000_000, time.UTC) }

// on is a target, which may be a hostgroup.
func on(text string) traffic.Target {
	t := traffic.Target{Group: "default"}
	if p, err := netip.ParsePrefix(text); err == nil {
		t.Scope, t.Prefix = traffic.ScopePrefix, p
	} else if a, err := netip.ParseAddr(text); err == nil {
		t.Prefix = netip.PrefixFrom(a, a.BitLen())
	} else {
		t.Scope, t.Group = traffic.ScopeGroup, text
	}
	return t
}

func trip() traffic.Trip {
	return traffic.Trip{Metric: traffic.BPS, Count: 1_500_000_000, Window: time.Second, Value: 1.5e9, Limit: 1e9}
}

func event() *traffic.Event {
	return &traffic.Event{Kind: traffic.EventStarted, Target: on("203.0.113.7"), Trip: trip(), At: now(), Started: now().Add(-time.Second), Hosts: 1}
}

// attack has a value in each field.
func attack() *traffic.Attack {
	return &traffic.Attack{
		ID: "01K", Target: on("203.0.113.7"), Trip: trip(), Phase: traffic.PhaseActive, Started: now().Add(-time.Second), Detected: now(),
		Rate: traffic.TwoWay{
			Incoming: traffic.Counts{Total: traffic.Count{Packets: 120_000, Bytes: 187_500_000}, Flows: 900},
			Outgoing: traffic.Counts{Total: traffic.Count{Packets: 7, Bytes: 700}, Flows: 3},
		},
		Peak: traffic.Counts{Total: traffic.Count{Packets: 200_000, Bytes: 250_000_000}}, Hosts: 1,
		Analysis: &traffic.Analysis{
			Class: "dns_amplification", Confidence: 0.97, Sources: "reflectors",
			Rules: traffic.RuleSet{Rules: []traffic.MeasuredRule{{Rule: "protocol udp source-port 53 then discard"}, {Rule: "protocol udp length >1400 then discard"}}},
		},
	}
}

// record is an attack about to be held back by the second of three rungs.
func record() *traffic.Record {
	return &traffic.Record{
		Attack: *attack(),
		Ban: traffic.Ban{
			Since: now(), Until: now().Add(30 * time.Minute), Drop: true, Notified: true,
			Response: &traffic.Response{Rung: 2, Rungs: 3, Rules: traffic.RulesEnforce, Announce: []string{"scrub"}},
		},
	}
}

// load loads a script, which is the file "h.lua".
func load(t testing.TB, text string, o Options) (*Script, error) {
	t.Helper()
	o.Path = filepath.Join(t.TempDir(), "h.lua")
	if err := os.WriteFile(o.Path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return New(o, slog.New(slog.DiscardHandler))
}

func scriptOf(t testing.TB, text string) *Script {
	t.Helper()
	s, err := load(t, text, Options{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// short is a text without the script's folder.
func (s *Script) short(text string) string {
	return strings.ReplaceAll(text, filepath.Dir(s.o.Path)+string(filepath.Separator), "")
}

// statsOf are a script's statistics without what differs from run to run.
func statsOf(s *Script) Stats {
	got := s.Stats()
	got.LastError, got.Why, got.LastErrorAt = s.short(got.LastError), s.short(got.Why), time.Time{}
	return got
}
