package recorder

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/tests/need"
	"weir/userspace/traffic"
)

// Wherever a crash has cut a capture off, what was written whole is read, and a new run writes on behind it.
func TestCutOff(t *testing.T) {
	b := newBed(t, Options{})
	r := attackOf(0, host(victim, traffic.Incoming))
	r.Attack.Started = at
	b.put(r)
	b.add(0, 5)
	b.tick()
	name := filepath.Join(b.folder, captureName(r.Attack.ID, r.Attack.Target, traffic.LinkEthernet))
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var most int
	for cut := range len(content) + 40 {
		spoiled := append(bytes.Clone(content[:min(cut, len(content))]), make([]byte, max(0, cut-len(content)))...) // zeros: what a file system may leave
		if err := os.WriteFile(name, spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(b.folder, r.Attack.ID)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err != nil || f.Close() != nil {
			t.Fatal(err)
		}
		if len(got) == 0 && cut < 2200 {
			continue
		}
		frames := len(read(t, got).numbers)
		if frames < most {
			t.Fatalf("cut off at %d: %d frames, before %d", cut, frames, most)
		}
		most = frames
	}
	if most != 5 {
		t.Errorf("%d frames in the whole", most)
	}
	if err := os.WriteFile(name, append(content[:len(content)-4:len(content)-4], make([]byte, 1<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	second := newBed(t, Options{Folder: b.folder})
	second.add(100, 103)
	second.put(r)
	second.tick()
	second.put(over(r, at.Add(time.Hour)))
	second.tick()
	got := second.open(r.Attack.ID)
	if info, err := os.Stat(name); err != nil || info.Size() > 10000 {
		t.Errorf("what was cut off is still there: %v, %v", info, err)
	}
	if diff := cmp.Diff(append(span(0, 4), span(100, 103)...), got.numbers); diff != "" || len(got.sections) != 2 {
		t.Errorf("after a restart, %d sections (-want +got):\n%s", len(got.sections), diff)
	}
}

// After a clean stop in the middle of an attack, the record counts what was written before and after.
func TestRestart(t *testing.T) {
	b := newBed(t, Options{})
	r := attackOf(0, host(victim, traffic.Incoming))
	r.Attack.Started = at
	for run := range 3 {
		b = newBed(t, Options{Folder: b.folder})
		b.add(run*10, run*10+10)
		if run == 2 {
			r = over(r, at.Add(time.Hour))
		}
		b.put(r)
		if err := b.keeper.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// More becomes known after it is over: only the record changes.
	b = newBed(t, Options{Folder: b.folder})
	b.add(90, 100)
	b.put(analyzed(r))
	b.tick()
	is := b.record(r.Attack.ID)
	want := &captured{Files: []string{r.Attack.ID + "_192.0.2.7.pcapng"}, Seen: 20, Written: 20}
	if diff := cmp.Diff(want, is.Capture); diff != "" || is.Attack.Analysis == nil {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(span(0, 20), b.open(r.Attack.ID).numbers); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
	damaged := filepath.Join(b.folder, is.Attack.ID+"_192.0.2.7.json")
	if err := os.WriteFile(damaged, []byte(`{"capture": 7`), 0o600); err != nil {
		t.Fatal(err)
	}
	b.put(r)
	b.tick()
	if got := b.record(r.Attack.ID); got.Attack.Phase != "over" {
		t.Errorf("instead of a damaged record: %+v", got)
	}
}

// A folder that cannot be written to is told of once, what comes meanwhile is counted, and all goes on when it can be again.
func TestUnwritable(t *testing.T) {
	place := filepath.Join(t.TempDir(), "attacks")
	if err := os.WriteFile(place, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBed(t, Options{Folder: place})
	lost, r := attackOf(1, host(victim, traffic.Incoming)), attackOf(0, host(victim, traffic.Incoming))
	r.Attack.Started, lost.Attack.Started = at, at
	b.put(r)
	for i := 0; i < 1000; i += 100 {
		b.add(i, i+100)
		b.now = b.now.Add(logPeriod)
		b.tick()
	}
	b.put(over(lost, at.Add(time.Hour)))
	b.keeper.Text("192.0.2.7", at, "text")
	b.tick()
	if got := strings.Count(b.log.String(), "level=ERROR"); got != 1 || !strings.Contains(b.log.String(), "not a directory") {
		t.Errorf("log: %s", b.log)
	}
	if s := b.keeper.Stats(); s.Left < 1000 || s.Frames != 0 || s.Failed < 12 || s.Files != 0 {
		t.Errorf("stats %+v", s)
	}
	if err := os.Remove(place); err != nil {
		t.Fatal(err)
	}
	b.add(1000, 1010)
	b.tick()
	b.tick()
	if diff := cmp.Diff(span(1000, 1010), b.open(r.Attack.ID).numbers); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
	if got := strings.Count(b.log.String(), "written again"); got != 1 {
		t.Errorf("log: %s", b.log)
	}
}

// A write that fails loses nothing that there is room for in memory, and spoils nothing that was written.
func TestWriteFails(t *testing.T) {
	b := newBed(t, Options{})
	r := attackOf(0, host(victim, traffic.Incoming))
	r.Attack.Started = at
	b.put(r)
	b.add(0, 10)
	b.tick()
	w := b.keeper.attacks[r.Attack.ID].files[traffic.LinkEthernet]
	good := w.f
	bad, err := os.Open(filepath.Join(b.folder, w.name)) // for reading only
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	w.f = bad
	b.put(analyzed(r))
	b.add(10, 2000)
	b.tick()
	b.tick()
	if len(w.pending) > pendingBytes {
		t.Errorf("%d bytes wait", len(w.pending))
	}
	if diff := cmp.Diff(span(0, 10), b.open(r.Attack.ID).numbers); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
	w.f = good
	b.tick()
	got := b.open(r.Attack.ID)
	s := b.keeper.Stats()
	if len(got.numbers) != int(s.Frames) || s.Left != 2000-s.Frames || s.Failed < 3 || s.Failed > 6 { // not once for each frame
		t.Errorf("%d frames, stats %+v", len(got.numbers), s)
	}
	if diff := cmp.Diff(span(0, 400), got.numbers[:400]); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
	if !strings.Contains(got.sections[0], "dns_amplification") || strings.Count(b.log.String(), "\n") != 2 {
		t.Errorf("section %q, log %s", got.sections[0], b.log)
	}
}

// Whoever may write into the folder cannot lead the recorder out of it.
func TestSymbolicLinks(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBed(t, Options{})
	r := attackOf(0, host(victim, traffic.Incoming))
	if err := os.MkdirAll(b.folder, 0o750); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{captureName(r.Attack.ID, r.Attack.Target, traffic.LinkEthernet), recordName(r.Attack.ID, r.Attack.Target), textName("192.0.2.7", at)} {
		if err := os.Symlink(outside, filepath.Join(b.folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	b.add(0, 10)
	b.put(over(r, at.Add(time.Hour)))
	b.keeper.Text("192.0.2.7", at, "text")
	b.tick()
	if content, err := os.ReadFile(outside); err != nil || string(content) != "precious" {
		t.Errorf("outside: %q, %v", content, err)
	}
	if s := b.keeper.Stats(); s.Failed == 0 {
		t.Errorf("stats %+v", s)
	}
	if entries := ids(t, b.folder); len(entries) > 1 {
		t.Errorf("list: %v", entries)
	}
}

func TestTcpdumpReadsIt(t *testing.T) {
	tcpdump := need.Tool(t, "tcpdump", "tcpdump")
	b := newBed(t, Options{Interface: func(i int) string { return fmt.Sprintf("eth%d", i) }})
	r := attackOf(0, host(victim, traffic.Incoming))
	r.Attack.Started = at
	b.put(r)
	for i := range 4 {
		s := numbered(i)
		s.Interface = 3 + i%2
		b.ring.Add(s, traffic.LinkEthernet, victim, peer)
	}
	b.tick()
	b.put(over(analyzed(r), at.Add(time.Hour)))
	b.tick()
	cmd := exec.Command(tcpdump, "-tt", "-n", "-e", "--nano", "-r", filepath.Join(b.folder, captureName(r.Attack.ID, r.Attack.Target, traffic.LinkEthernet)))
	cmd.Env = append(os.Environ(), "TZ=UTC")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("tcpdump: %v: %s", err, out)
	}
	if got := strings.Count(string(out), "\n1772366400.12"); got != 4 || !strings.Contains(string(out), "1772366400.126456789") {
		t.Errorf("tcpdump prints %d frames: %s", got, out)
	}
}

// Run with -race: samples, news and readers from all sides while the Keeper runs.
func TestConcurrently(t *testing.T) {
	b := newBed(t, Options{Attacks: 20, Open: 4, FileBytes: 32 << 10})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var run, all sync.WaitGroup
		run.Go(func() {
			if err := b.keeper.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		for w := range 3 {
			all.Go(func() {
				for i := range 30 {
					b.add(i*20, i*20+20)
					r := attackOf(w*10+i/3, host(victim, traffic.Incoming))
					if i%3 == 2 {
						r = over(r, at.Add(time.Hour))
					}
					b.keeper.Put(r)
					b.keeper.Text("192.0.2.7", at, "text")
					if _, err := List(b.folder); err != nil {
						t.Error(err)
					}
					if f, err := Open(b.folder, r.Attack.ID); err == nil {
						if _, err := io.Copy(io.Discard, f); err != nil || f.Close() != nil {
							t.Error(err)
						}
					}
					b.keeper.Stats()
					time.Sleep(tickPeriod / 3)
				}
			})
		}
		all.Wait()
		cancel()
		run.Wait()
	})
	if err := b.keeper.Close(); err != nil {
		t.Error(err)
	}
	s := b.keeper.Stats()
	if s.Records < 20 || s.Texts != 90 || s.Kept > 20 || s.Open != 0 || s.Failed != 0 || b.log.Len() > 0 {
		t.Errorf("stats %+v, log %s", s, b.log)
	}
}

func FuzzWholeBlocks(f *testing.F) {
	frame := &Frame{Sample: *numbered(1)}
	good := appendPacket(appendInterface(appendSection(nil, "comment", "linux"), "eth0", traffic.LinkEthernet), 0, frame, "x")
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte{6, 0, 0, 0, 12, 0, 0, 0, 12, 0, 0, 0})
	f.Fuzz(func(t *testing.T, content []byte) {
		n, err := wholeBlocks(bytes.NewReader(content))
		if err != nil || n < 0 || n > int64(len(content)) || n%4 != 0 {
			t.Fatalf("%d of %d bytes, %v", n, len(content), err)
		}
		if again, err := wholeBlocks(bytes.NewReader(content[:n])); err != nil || again != n {
			t.Errorf("of %d whole bytes %d are whole, %v", n, again, err)
		}
	})
}
