package recorder

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// A capture never grows beyond its bound, and has frames of the attack's whole length all the same.
func TestFileIsBounded(t *testing.T) {
	const limit = 64 << 10
	b := newBed(t, Options{FileBytes: limit})
	r := attackOf(0, host(victim, traffic.Incoming))
	r.Attack.Started = at
	b.put(r)
	for i := 0; i < 20000; i += 500 {
		b.add(i, i+500)
		b.tick()
	}
	b.put(over(r, at.Add(time.Hour)))
	b.tick()
	got := b.open(r.Attack.ID)
	if info, err := os.Stat(filepath.Join(b.folder, b.record(r.Attack.ID).Capture.Files[0])); err != nil || info.Size() > limit || info.Size() < limit/2 {
		t.Errorf("%v, %v", info, err)
	}
	if diff := cmp.Diff(span(0, 120), got.numbers[:120]); diff != "" {
		t.Errorf("the first frames (-want +got):\n%s", diff)
	}
	if last := got.numbers[len(got.numbers)-1]; last < 10000 {
		t.Errorf("the last frame is %d of 20000", last)
	}
	place := slices.IndexFunc(span(1, len(got.infos)), func(i int) bool { return got.comments[i] != "" }) + 1
	if want := "from here on, a frame of this interface stands for 256 packets"; got.comments[place] != want {
		t.Errorf("frame %d has the comment %q, want %q", place, got.comments[place], want)
	}
	s := b.keeper.Stats()
	is := b.record(r.Attack.ID).Capture
	if s.Frames != uint64(len(got.numbers)) || s.Frames+s.Left != 20000 || is.Seen != 20000 || is.Written != s.Frames {
		t.Errorf("stats %+v, record %+v, %d frames", s, is, len(got.numbers))
	}
	if got.received != 0 && got.received-got.dropped != s.Frames {
		t.Errorf("of %d frames %d left out, %d written", got.received, got.dropped, s.Frames)
	}
}

// Each run begins a section of its own, but not beyond the bound.
func TestFileIsBoundedOverRestarts(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "attacks")
	r := attackOf(0, host(victim, traffic.Incoming))
	r.Attack.Started = at
	for range 12 {
		b := newBed(t, Options{Folder: folder, FileBytes: leastFileBytes})
		b.add(0, 20)
		b.put(r)
		b.tick()
		b.put(analyzed(r))
		if err := b.keeper.Close(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(folder, captureName(r.Attack.ID, r.Attack.Target, traffic.LinkEthernet)))
	if err != nil || info.Size() > leastFileBytes || info.Size() < leastFileBytes*3/4 {
		t.Errorf("%v, %v", info, err)
	}
	b := newBed(t, Options{Folder: folder})
	if got := b.open(r.Attack.ID); len(got.sections) < 3 || len(got.numbers) < 40 {
		t.Errorf("%d sections, %d frames", len(got.sections), len(got.numbers))
	}
	if is := b.record(r.Attack.ID).Capture; is.Seen != 240 || is.Written != uint64(len(b.open(r.Attack.ID).numbers)) {
		t.Errorf("record %+v", is)
	}
}

// An exporter can name any number of interfaces.
func TestInterfacesAreBounded(t *testing.T) {
	b := newBed(t, Options{Interface: func(i int) string {
		if i == 1 {
			return "eth\x1b0\xff" + strings.Repeat("ä", 100)
		}
		return ""
	}})
	r := attackOf(0, host(victim, traffic.Incoming))
	b.put(r)
	s := numbered(0)
	for i := range 2000 {
		s.Interface, s.Rate = i%1000, 0
		b.ring.Add(s, traffic.LinkEthernet, victim, peer)
	}
	b.put(over(r, at.Add(time.Hour)))
	b.tick()
	got := b.open(r.Attack.ID)
	if len(got.infos) != 2000 || len(got.names) != maxInterfaces || got.received != 2000 {
		t.Errorf("%d frames, %d interfaces, %d received", len(got.infos), len(got.names), got.received)
	}
	if diff := cmp.Diff([]string{"unknown", "eth?0?" + strings.Repeat("ä", 29), "interface 2"}, got.names[:3]); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if got.infos[300].InterfaceIndex != 0 || got.infos[200].InterfaceIndex != 200 {
		t.Errorf("frames are of interfaces %d and %d", got.infos[300].InterfaceIndex, got.infos[200].InterfaceIndex)
	}
}

func ids(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := List(folder)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range entries {
		out = append(out, e.ID)
	}
	return out
}

// whole writes an attack from its begin to its end, as if it had been so long ago.
func (b *bed) whole(i int, ago time.Duration) string {
	b.t.Helper()
	r := attackOf(i, host(victim, traffic.Incoming))
	b.put(over(r, at.Add(time.Hour)))
	b.tick()
	b.age(r.Attack.ID, ago)
	return r.Attack.ID
}

func (b *bed) age(id string, ago time.Duration) {
	b.t.Helper()
	files, err := filepath.Glob(filepath.Join(b.folder, id+"*"))
	if err != nil || len(files) == 0 {
		b.t.Fatalf("%s has %v, %v", id, files, err)
	}
	for _, f := range files {
		if err := os.Chtimes(f, b.now.Add(-ago), b.now.Add(-ago)); err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestFolderIsBounded(t *testing.T) {
	foreign := []string{"notes.txt", "a_b.txt", "x.pcapng", "20260301T120001.123-0001.json", ".hidden_x.json", "192.0.2.7_99_99_99_00:00:00.txt"}
	tests := []struct {
		name    string
		options Options
		want    []int // that are left of six
	}{
		{"number", Options{Attacks: 3}, []int{5, 4, 3}},
		{"age", Options{Age: 150 * time.Minute}, []int{5, 4, 3}},
		{"size", Options{Bytes: 100 << 10}, []int{5, 4}},
		{"all of it", Options{}, []int{5, 4, 3, 2, 1, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, tt.options)
			if err := os.MkdirAll(filepath.Join(b.folder, "folder_x.json"), 0o750); err != nil {
				t.Fatal(err)
			}
			for _, name := range foreign {
				if err := os.WriteFile(filepath.Join(b.folder, name), make([]byte, 1<<20), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			b.add(0, 200) // 40 KB
			want := []string{}
			for i := range 6 {
				id := b.whole(i, time.Duration(5-i)*time.Hour)
				if slices.Contains(tt.want, i) {
					want = slices.Insert(want, 0, id)
				}
			}
			b.now = b.now.Add(prunePeriod)
			b.tick()
			if diff := cmp.Diff(want, ids(t, b.folder)); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
			s := b.keeper.Stats()
			if files := uint64(2 * (6 - len(want))); s.Pruned != files || s.Kept != int64(len(want)) || s.Failed != 0 {
				t.Errorf("stats %+v", s)
			}
			if tt.options.Bytes > 0 && s.Used > tt.options.Bytes {
				t.Errorf("%d bytes", s.Used)
			}
			for _, name := range foreign {
				if _, err := os.Stat(filepath.Join(b.folder, name)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Captures of attacks that are on are not removed; when they fill the folder, nothing more is written, and it is told once.
func TestFullOfAttacks(t *testing.T) {
	b := newBed(t, Options{Bytes: 100 << 10, Attacks: 1})
	old := b.whole(0, time.Hour)
	r := attackOf(1, host(victim, traffic.Incoming))
	r.Attack.Started = at
	b.put(r)
	for i := 0; i < 2000; i += 100 {
		b.add(i, i+100)
		b.tick()
		if s := b.keeper.Stats(); s.Used > 100<<10 {
			t.Fatalf("%d bytes", s.Used)
		}
	}
	if diff := cmp.Diff([]string{r.Attack.ID}, ids(t, b.folder)); diff != "" {
		t.Errorf("%s is to be gone (-want +got):\n%s", old, diff)
	}
	if got := strings.Count(b.log.String(), "\n"); got != 1 || !strings.Contains(b.log.String(), errNoRoom.Error()) {
		t.Errorf("log: %s", b.log)
	}
	s := b.keeper.Stats()
	if s.Failed == 0 || s.Left == 0 || s.Frames+s.Left != 2000 {
		t.Errorf("stats %+v", s)
	}
	if got := len(b.open(r.Attack.ID).numbers); got < 300 || got >= int(s.Frames) {
		t.Errorf("%d frames on disk, %d taken", got, s.Frames)
	}
	if err := b.keeper.Close(); err == nil || !strings.Contains(err.Error(), errNoRoom.Error()) {
		t.Errorf("close: %v", err)
	}
}

// The ring is overrun while the Keeper is busy elsewhere.
func TestRingOverrun(t *testing.T) {
	b := newBed(t, Options{})
	b.ring = NewRing(1)
	b.keeper.ring = b.ring
	r := attackOf(0, host(victim, traffic.Incoming))
	r.Attack.Started = at
	b.add(0, 1000) // what is gone before the attack is told of is not missed
	b.put(r)
	b.tick()
	b.add(1000, 3000)
	b.tick()
	kept := int(b.ring.Stats().Kept)
	if s := b.keeper.Stats(); s.Missed != uint64(2000-kept) {
		t.Errorf("stats %+v, %d kept", s, kept)
	}
	got := b.open(r.Attack.ID).numbers
	if !slices.IsSorted(got) || got[len(got)-1] != 2999 || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("frames %v", got)
	}
}
