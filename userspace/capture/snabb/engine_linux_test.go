package snabb

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/tests/need"
	"weir/userspace/traffic"
)

// What weir.lua writes is what Weir reads: every length, over many turns of a ring that is small.
func TestLua(t *testing.T) {
	const most = 30000
	r := open(t, Options{
		Interface: "app:apps.numbers:Numbers:out:{most=30000,length=function(i)return(4+i*37%2000)end}",
		Program:   fakeProgram(t), RingBytes: 4 << 20,
	})
	r.await("all frames", func(frames []seen, s traffic.CaptureStats) bool { return len(frames)+int(s.KernelDrop) >= most })
	r.stop()
	s := r.Stats() // Snabb waits for nobody: what a busy machine reads too late is lost, and counted
	if s.Received+s.KernelDrop != most || s.Received < most/10 || s.Dropped != 0 || s.Error != "" || s.Restarts != 0 || s.Mode != "app" {
		t.Errorf("got %+v", s)
	}
	last := -1
	for _, f := range r.frames {
		n := int(binary.NativeEndian.Uint32(f.Data))
		if n <= last {
			t.Fatalf("frame %d after %d", n, last)
		}
		last = n
		numbered(t, n, f, 4+n*37%2000)
	}
}

// A ring that is too small loses frames, says how many, and mixes none up.
func TestLuaOverrun(t *testing.T) {
	const most = 20000
	r := open(t, Options{
		Interface: "app:apps.numbers:Numbers:out:{most=20000,length=function(i)return(1000)end}",
		Program:   fakeProgram(t), RingBytes: 64 << 10,
	})
	r.await("all frames", func(frames []seen, s traffic.CaptureStats) bool { return len(frames)+int(s.KernelDrop) >= most })
	r.stop()
	s := r.Stats()
	if s.KernelDrop == 0 || s.Received+s.KernelDrop != most || s.Dropped != 0 {
		t.Errorf("got %+v", s)
	}
	last := -1
	for _, f := range r.frames {
		if n := int(binary.NativeEndian.Uint32(f.Data)); n <= last || len(f.Data) != 1000 || f.Data[999] != byte(n) {
			t.Fatalf("frame %d after %d: % x", n, last, f.Data[:8])
		} else {
			last = n
		}
	}
}

// The source pcap reads a file.
func TestLuaPcap(t *testing.T) {
	file := binary.NativeEndian.AppendUint32(nil, 0xa1b2c3d4)
	file = append(file, make([]byte, 20)...)
	for _, data := range []string{"first frame", "second"} {
		head := make([]byte, 16)
		binary.NativeEndian.PutUint32(head[8:], uint32(len(data)))
		binary.NativeEndian.PutUint32(head[12:], uint32(len(data)))
		file = append(append(file, head...), data...)
	}
	path := filepath.Join(t.TempDir(), "a.pcap")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	r := open(t, Options{Interface: "pcap:" + path, Program: fakeProgram(t)})
	r.await("two frames", func(frames []seen, _ traffic.CaptureStats) bool { return len(frames) == 2 })
	if string(r.frames[0].Data) != "first frame" || string(r.frames[1].Data) != "second" || r.frames[0].Time == 0 {
		t.Errorf("got %v", r.frames)
	}
}

// A Snabb that ends, is killed or hangs is started again, and what it said is told.
func TestRestart(t *testing.T) {
	for _, tt := range []struct {
		name string
		stop string
		end  func(t *testing.T, r *running)
		want string
	}{
		{"ends", `,stop="end"`, func(*testing.T, *running) {}, "exit status 3: the end"},
		{"killed", "", func(t *testing.T, r *running) {
			for _, pid := range children(t, r.shared.path()) {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
		}, "killed"},
		{"hangs", `,stop="hang"`, func(*testing.T, *running) {}, "no sign of life"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			e, err := Open(Options{
				Interface: "app:apps.numbers:Numbers:out:{most=5,length=function(i)return(60)end" + tt.stop + "}",
				Program:   fakeProgram(t), RingBytes: 1 << 20, Log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			e.child.silence, e.child.firstSilence = time.Second, 3*time.Second
			r := run(t, e)
			r.await("five frames", func(frames []seen, s traffic.CaptureStats) bool { return len(frames) >= 5 })
			tt.end(t, r)
			r.await("a restart", func(frames []seen, s traffic.CaptureStats) bool { return s.Restarts > 0 })
			if s := r.Stats(); !strings.Contains(s.Error, tt.want) {
				t.Errorf("got %+v, want %q", s, tt.want)
			}
			r.await("five frames more", func(frames []seen, s traffic.CaptureStats) bool { return len(frames) >= 10 })
			r.stop()
			for i, f := range r.frames[5:10] {
				numbered(t, i, f, 60)
			}
			if !strings.Contains(log.String(), `msg="snabb ended, and is started again"`) {
				t.Errorf("log:\n%s", log.String())
			}
		})
	}
}

// Nothing is left behind: no process, no file.
func TestStop(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ring := filepath.Join(memoryFolder, ringPrefix+"test-"+filepath.Base(temporary))
	for _, tt := range []struct {
		name, program string
		processes     int
	}{
		{"at once", fakeProgram(t), 1},
		{"deaf", program(t, `trap "" TERM; sh -c "while :; do sleep 0.05; done" child "$3" & while :; do sleep 0.05; done`), 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := open(t, Options{Interface: "app:apps.numbers:Numbers:out:{most=5,length=function(i)return(60)end}", Program: tt.program, RingPath: ring})
			r.await("a process", func([]seen, traffic.CaptureStats) bool { return len(children(t, ring)) >= tt.processes })
			if info, err := os.Stat(ring); err != nil || info.Mode() != 0o600 {
				t.Errorf("the ring's file: %v, %v", info, err)
			}
			if scripts, err := os.ReadDir(temporary); err != nil || len(scripts) != 1 {
				t.Errorf("scripts: %v, %v", scripts, err)
			}
			r.stop()
			if pids := children(t, ring); len(pids) > 0 {
				t.Errorf("processes are left: %v", pids)
			}
			if _, err := os.Stat(ring); err == nil {
				t.Error("the ring is left")
			}
			if scripts, err := os.ReadDir(temporary); err != nil || len(scripts) != 0 {
				t.Errorf("scripts are left: %v, %v", scripts, err)
			}
		})
	}
}

// Rings of processes that were killed go, those in use stay.
func TestLeftovers(t *testing.T) {
	folder := t.TempDir()
	dead, alive := filepath.Join(folder, ringPrefix+"dead"), filepath.Join(folder, ringPrefix+"alive")
	if err := os.WriteFile(dead, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := makeRing(alive, small)
	if err != nil {
		t.Fatal(err)
	}
	removeLeftovers(folder)
	if _, err := os.Stat(dead); err == nil {
		t.Error("what a dead process left is still there")
	}
	if _, err := os.Stat(alive); err != nil {
		t.Error(err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	need.Root(t)
	fake := program(t, "exit 1")
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(taken, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		opts Options
		want string
	}{
		{"no program", Options{Interface: "lo", Program: "no-such-snabb"}, "find Snabb: "},
		{"no interface", Options{Interface: "none0", Program: fake}, "snabb source none0: route ip+net: no such network interface"},
		{"no file", Options{Interface: "pcap:" + taken + "x", Program: fake}, "no such file"},
		{"no device", Options{Interface: "ffff:ff:1f.7", Program: fake}, "no such device; see lspci -D"},
		{"no script", Options{Interface: "lo", Program: fake, Script: taken + "x"}, "find Snabb's script: "},
		{"ring is there", Options{Interface: "lo", Program: fake, RingPath: taken}, "file exists"},
		{"odd size", Options{Interface: "lo", Program: fake, RingBytes: 100000}, "a power of two"},
		{"too large", Options{Interface: "lo", Program: fake, RingBytes: math.MaxInt>>1 + 1}, "make ring "},
		{"no ring", Options{Interface: "ring:" + taken}, "14 bytes; expected 8192 at least"},
		{"a folder", Options{Interface: "ring:" + filepath.Dir(taken)}, "attach to ring: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Open(tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := findPlugin(""); err == nil || !strings.Contains(err.Error(), "make snabb-firehose") {
		t.Errorf("no plug-in: got %v", err)
	}
}

// What Snabb says is logged whole line by whole line, and not without end.
func TestLines(t *testing.T) {
	var log bytes.Buffer
	l := &lines{log: slog.New(slog.NewTextHandler(&log, nil))}
	for _, part := range []string{"first ", "line\nsecond\n\n", strings.Repeat("x", 3*lineLength), strings.Repeat("another line\n", 100), "last"} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
	}
	if got := strings.Count(log.String(), "\n"); got != linesMost {
		t.Errorf("%d lines were logged, want %d", got, linesMost)
	}
	if !strings.Contains(log.String(), `line="first line"`) || strings.Contains(log.String(), strings.Repeat("x", lineLength+1)) {
		t.Errorf("log:\n%s", log.String())
	}
	if got := l.latest(); got != "last" {
		t.Errorf("got %q as the last thing that was said", got)
	}
	if got := l.latest(); got != "" {
		t.Errorf("got %q again", got)
	}
}
