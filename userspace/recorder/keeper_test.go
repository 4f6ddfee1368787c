package recorder

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

func TestCaptureBeginsBeforeTheAttack(t *testing.T) {
	b := newBed(t, Options{Before: 100 * time.Millisecond, Interface: func(i int) string { return fmt.Sprintf("eth%d", i) }})
	b.add(0, 1000) // since at; the attack began at at+1 s
	for i := range 50 {
		b.ring.Add(numbered(i), traffic.LinkEthernet, peer, victim)
	}
	r := attackOf(1, host(victim, traffic.Incoming))
	b.put(r)
	b.add(1000, 1300)
	b.tick()
	b.add(1300, 1400)
	b.put(analyzed(r))
	b.tick()
	b.add(1400, 1500)
	b.tick()

	got := b.open(r.Attack.ID) // while it is on
	if diff := cmp.Diff(span(900, 1500), got.numbers); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
	if got.infos[0].Timestamp != numbered(900).Time || got.infos[0].Length != 1500 || got.infos[0].CaptureLength != len(numbered(900).Data) {
		t.Errorf("first frame %+v", got.infos[0])
	}
	wantComments := map[int]string{
		0:   "from here on, a frame of this interface stands for 64 packets",
		400: "class: dns_amplification (97 % sure, from 2000 samples)\nrules: drop udp from port 53",
	}
	if diff := cmp.Diff(wantComments, got.comments); diff != "" {
		t.Errorf("comments (-want +got):\n%s", diff)
	}
	const want = `attack 20260301T120001.123-0001, 192.0.2.7, incoming, hostgroup web
class: dns_amplification (97 % sure, from 2000 samples)
decided by: pps: 5200 packets counted, 52000 packets/s > 20000 packets/s x 1s
phase: active
rate: 52000 packets/s, 400.0 Mbit/s, 7 flows/s
peak: 0 packets/s, 0.0 Mbit/s, 0 flows/s
started: 2026-03-01 12:00:01.123 UTC
detected: 2026-03-01 12:00:01.623 UTC
rule: drop udp from port 53 (drops 99.1 % of the attack, 0.04 % of normal)
`
	if diff := cmp.Diff([]string{want}, trimmed(got.sections)); diff != "" {
		t.Errorf("section (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"eth3"}, got.names); diff != "" || got.links[0] != 1 {
		t.Errorf("interfaces, links %v (-want +got):\n%s", got.links, diff)
	}
	if _, err := ReadRecord(b.folder, r.Attack.ID); err == nil {
		t.Error("there is a record of an attack that is on")
	}

	b.add(1500, 1600)
	b.put(over(analyzed(r), numbered(1549).Time))
	b.tick()
	got = b.open(r.Attack.ID)
	if len(got.numbers) != 650 || got.received != 650 || got.dropped != 0 || !strings.Contains(got.sections[0], "phase: over") {
		t.Errorf("at the end %d frames, %d received, %d dropped, %s", len(got.numbers), got.received, got.dropped, got.sections)
	}
	is := b.record(r.Attack.ID)
	wantCapture := &captured{Files: []string{"20260301T120001.123-0001_192.0.2.7.pcapng"}, Seen: 650, Written: 650}
	if diff := cmp.Diff(wantCapture, is.Capture); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if is.Attack.Phase != "over" || is.Attack.Direction != "incoming" || is.Attack.Analysis.Class != "dns_amplification" || is.Attack.Trip.Window != 1 || is.Version != 1 {
		t.Errorf("record %+v", is)
	}
	for _, ending := range []string{captureEnding, recordEnding} {
		info, err := os.Stat(filepath.Join(b.folder, r.Attack.ID+"_192.0.2.7"+ending))
		if err != nil || info.Mode().Perm()&^0o640 != 0 || info.Mode().Perm()&0o600 != 0o600 {
			t.Errorf("%s: %v, %v", ending, info, err)
		}
	}
	if info, err := os.Stat(b.folder); err != nil || info.Mode().Perm()&^0o750 != 0 {
		t.Errorf("folder: %v, %v", info, err)
	}
	s := b.keeper.Stats()
	size := s.Used
	if want := (Stats{Frames: 650, Bytes: s.Bytes, Files: 1, Records: 1, Kept: 1, Used: size}); s != want || int64(s.Bytes) >= size || s.Bytes < 650*100 {
		t.Errorf("stats %+v, want %+v", s, want)
	}
	if b.log.Len() > 0 {
		t.Errorf("log: %s", b.log)
	}
}

func trimmed(list []string) []string {
	out := []string{}
	for _, s := range list {
		out = append(out, strings.TrimRight(s, " "))
	}
	return out
}

func TestEachAttackHasItsFrames(t *testing.T) {
	b := newBed(t, Options{Hostgroup: func(a netip.Addr) string { return map[netip.Addr]string{victim: "web"}[a] }})
	tests := []struct {
		name   string
		target traffic.Target
		want   []int
		file   string
		why    string
	}{
		{"host", host(victim, traffic.Incoming), []int{0, 5}, "_192.0.2.7.pcapng", ""},
		{"host, outgoing", host(victim, traffic.Outgoing), []int{1}, "_192.0.2.7.pcapng", ""},
		{"IPv6", host(six, traffic.Incoming), []int{3}, "_2001-db8--7.pcapng", ""},
		{"prefix", traffic.Target{Scope: traffic.ScopePrefix, Prefix: netip.MustParsePrefix("192.0.2.0/24")}, []int{0, 2, 5}, "_192.0.2.0-24.pcapng", ""},
		{"hostgroup", traffic.Target{Scope: traffic.ScopeGroup, Group: "web"}, []int{0, 5}, "_group-web.pcapng", ""},
		{"another hostgroup", traffic.Target{Scope: traffic.ScopeGroup, Group: "../../etc"}, nil, "", "no packet of it was sampled"},
	}
	for i, tt := range tests {
		r := attackOf(i, tt.target)
		r.Attack.Started = at
		b.put(r)
	}
	b.tick()
	for i, a := range [][2]netip.Addr{{victim, peer}, {peer, victim}, {victim.Next(), peer}, {six, peer}, {netip.Addr{}, netip.Addr{}}, {victim, peer}} {
		b.ring.Add(numbered(i), traffic.LinkEthernet, a[0], a[1])
	}
	for i, tt := range tests {
		r := attackOf(i, tt.target)
		b.put(over(r, at.Add(time.Hour)))
	}
	b.tick()
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := attackOf(i, tt.target).Attack.ID
			want := &captured{Files: []string{id + tt.file}, Seen: uint64(len(tt.want)), Written: uint64(len(tt.want)), Why: tt.why}
			if tt.want == nil {
				want.Files = []string{}
			} else if diff := cmp.Diff(tt.want, b.open(id).numbers); diff != "" {
				t.Errorf("frames (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, b.record(id).Capture); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := Open(b.folder, attackOf(5, traffic.Target{}).Attack.ID); !errors.Is(err, ErrNotRecorded) {
		t.Errorf("capture of an attack without frames: %v", err)
	}
	if outside, err := filepath.Glob(filepath.Join(b.folder, "..", "*")); err != nil || len(outside) != 1 {
		t.Errorf("outside the folder: %v, %v", outside, err)
	}
}

// Frames of several link types are in a file each, for libpcap reads no other, and Open gives them as one.
func TestLinkTypes(t *testing.T) {
	b := newBed(t, Options{})
	r := attackOf(0, host(victim, traffic.Incoming))
	b.put(r)
	for link := traffic.LinkEthernet; link <= traffic.LinkUnknown; link++ {
		b.ring.Add(numbered(int(link)), link, victim, peer)
	}
	b.put(over(r, at.Add(time.Hour)))
	b.tick()
	got := b.open(r.Attack.ID)
	if diff := cmp.Diff([]int{1, 101, 113, 276, 219, 0, 9, 147}, got.links); diff != "" { // in the order of the files' names
		t.Errorf("links (-want +got):\n%s", diff)
	}
	if got := b.record(r.Attack.ID).Capture; len(got.Files) != 8 || got.Files[1] != r.Attack.ID+"_192.0.2.7_ip.pcapng" {
		t.Errorf("files %v", got.Files)
	}
}

func TestOptionsAndRefusals(t *testing.T) {
	if _, err := New(Options{Folder: "attacks"}, NewRing(0), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "not an absolute path") {
		t.Errorf("relative folder: %v", err)
	}
	b := newBed(t, Options{Queue: 3})
	for _, id := range []string{"", "..", ".hidden", "a/b", "../../etc/passwd", "a_b", "-rf", "a\x00b", strings.Repeat("a", 65), "ä"} {
		r := attackOf(0, host(victim, traffic.Incoming))
		if r.Attack.ID = id; b.keeper.Put(r) {
			t.Errorf("an attack called %q was taken", id)
		}
	}
	for i := range 5 {
		if got := b.keeper.Put(attackOf(i, host(victim, traffic.Incoming))); got != (i < 3) {
			t.Errorf("attack %d: %v", i, got)
		}
	}
	b.put(attackOf(0, host(victim, traffic.Incoming))) // takes no further place
	b.tick()
	b.put(attackOf(9, host(victim, traffic.Incoming))) // there is room in the queue, but not for one more that is on
	b.tick()
	if s := b.keeper.Stats(); s.Refused != 13 || s.Open != 3 {
		t.Errorf("stats %+v", s)
	}
	if err := b.keeper.Close(); err != nil {
		t.Fatal(err)
	}
	if b.keeper.Put(attackOf(1, host(victim, traffic.Incoming))) || b.keeper.Text("192.0.2.7", at, "x") {
		t.Error("taken after Close")
	}
	if err := b.keeper.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if got := b.record(attackOf(0, traffic.Target{}).Attack.ID); got.Attack.Phase != "active" {
		t.Errorf("an attack that was on at Close is %s", got.Attack.Phase)
	}
}

// Only so many captures are written at a time; whoever waits gets what the ring still has of it.
func TestTooManyAttacks(t *testing.T) {
	b := newBed(t, Options{Open: 2})
	attacks := make([]traffic.Record, 4)
	for i := range attacks {
		attacks[i] = attackOf(i, host(victim, traffic.Incoming))
		attacks[i].Attack.Started = at
		b.put(attacks[i])
	}
	b.add(0, 10)
	b.tick()
	b.put(over(attacks[0], at.Add(time.Hour)))
	b.put(over(attacks[3], at.Add(time.Hour)))
	b.tick()
	b.add(10, 20)
	b.tick()
	for i, want := range [][]int{span(0, 10), span(0, 20), span(0, 20), nil} {
		if want != nil {
			if diff := cmp.Diff(want, b.open(attacks[i].Attack.ID).numbers); diff != "" {
				t.Errorf("attack %d (-want +got):\n%s", i, diff)
			}
		}
	}
	if got := b.record(attacks[3].Attack.ID).Capture.Why; got != "too many other attacks were on" {
		t.Errorf("why: %q", got)
	}
	if s := b.keeper.Stats(); s.Muted != 1 || s.Open != 2 || s.Records != 2 {
		t.Errorf("stats %+v", s)
	}
}

func TestText(t *testing.T) {
	b := newBed(t, Options{})
	for _, subject := range []string{"192.0.2.7", "2001:db8::7", "192.0.2.0/24", "../x", ""} {
		if !b.keeper.Text(subject, at, "IP: "+subject+"\n") {
			t.Fatal("not taken")
		}
	}
	b.keeper.Text("192.0.2.7", at, "more")
	b.tick()
	stamp := at.Local().Format("_02_01_06_15:04:05.txt")
	want := map[string]string{
		"192.0.2.7" + stamp: "IP: 192.0.2.7\n\n\nmore\n\n", "2001:db8::7" + stamp: "IP: 2001:db8::7\n\n\n",
		"192.0.2.0-24" + stamp: "IP: 192.0.2.0/24\n\n\n", "-..-x" + stamp: "IP: ../x\n\n\n", "-" + stamp: "IP: \n\n\n",
	}
	entries, err := List(b.folder)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(b.folder, e.ID))
		if err != nil || !e.Text {
			t.Errorf("%+v: %v", e, err)
		}
		got[e.ID] = string(content)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
	for range maxTexts {
		b.keeper.Text("192.0.2.7", at, strings.Repeat("x", 3))
	}
	if b.keeper.Text("192.0.2.7", at, "") {
		t.Error("too many texts wait")
	}
	if s := b.keeper.Stats(); s.Texts != 6 || s.Refused != 1 || s.Kept != 5 {
		t.Errorf("stats %+v", s)
	}
}
