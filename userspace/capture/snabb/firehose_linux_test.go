package snabb

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"weir/tests/need"
	"weir/userspace/traffic"
)

// build compiles the plug-in and the program that drives it in the place of `snabb firehose` and a NIC: no machine for tests has one that
// Snabb knows.
func build(t *testing.T) (plugin, drive string) {
	t.Helper()
	gcc := need.Tool(t, "gcc", "gcc libc6-dev")
	dir := t.TempDir()
	plugin, drive = filepath.Join(dir, pluginName), filepath.Join(dir, "drive")
	for _, args := range [][]string{
		{"-shared", "-fPIC", "-o", plugin, "firehose/firehose.c"},
		{"-o", drive, "testdata/firehose/drive.c", "-ldl"},
	} {
		if out, err := exec.Command(gcc, append([]string{"-O2", "-Wall", "-Wextra", "-Werror"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("gcc: %v\n%s", err, out)
		}
	}
	return plugin, drive
}

func length(n int) int { return 14 + n*37%1500 }

func TestFirehose(t *testing.T) {
	plugin, drive := build(t)
	for _, tt := range []struct {
		name         string
		frames, ring int
		descriptors  int
		polite       bool
	}{
		{"small turns", 50000, 64 << 10, 16, true},
		{"large turns", 50000, 4 << 20, 2048, true},
		{"overrun", 50000, 64 << 10, 1024, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ring")
			r := open(t, Options{Interface: "ring:" + path, RingBytes: tt.ring})
			args := []string{plugin, strconv.Itoa(tt.frames), strconv.Itoa(tt.descriptors)}
			if tt.polite {
				args = append(args, "polite")
			}
			cmd := exec.CommandContext(t.Context(), drive, args...)
			cmd.Env = append(os.Environ(), "WEIR_RING="+path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("drive: %v\n%s", err, out)
			}
			r.await("all frames", func(_ []seen, s traffic.CaptureStats) bool { return int(s.Received+s.KernelDrop) == tt.frames })
			r.stop()
			s := r.Stats()
			if tt.polite != (s.KernelDrop == 0) || s.Dropped != 0 || s.Mode != "ring" {
				t.Errorf("got %+v", s)
			}
			last := -1
			for _, f := range r.frames {
				n := int(binary.NativeEndian.Uint32(f.Data))
				if n <= last || len(f.Data) != length(n) || f.Data[len(f.Data)-1] != byte(n) {
					t.Fatalf("frame %d after %d has %d bytes: % x", n, last, len(f.Data), f.Data[:8])
				}
				last = n
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("the ring is another's, and gone: %v", err)
			}
		})
	}
}

// A ring that is there is taken over, without what is old; one that another process reads is not.
func TestAttach(t *testing.T) {
	plugin, drive := build(t)
	path := filepath.Join(t.TempDir(), "ring")
	send := func() {
		cmd := exec.CommandContext(t.Context(), drive, plugin, "10", "64")
		cmd.Env = append(os.Environ(), "WEIR_RING="+path)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("drive: %v\n%s", err, out)
		}
	}
	first := open(t, Options{Interface: "ring:" + path, RingBytes: small})
	if _, err := Open(Options{Interface: "ring:" + path}); err == nil || !strings.Contains(err.Error(), "another process reads this ring") {
		t.Errorf("read twice: got %v", err)
	}
	first.stop()
	send()
	second := open(t, Options{Interface: "ring:" + path})
	send()
	second.await("ten frames", func(frames []seen, _ traffic.CaptureStats) bool { return len(frames) == 10 })
	second.stop()
	for i, f := range second.frames {
		if int(binary.NativeEndian.Uint32(f.Data)) != i {
			t.Errorf("frame %d begins with % x", i, f.Data[:4])
		}
	}
}

// Without a ring, the plug-in says so and ends its process.
func TestFirehoseWithoutRing(t *testing.T) {
	plugin, drive := build(t)
	for _, path := range []string{"", filepath.Join(t.TempDir(), "none"), drive} {
		cmd := exec.CommandContext(t.Context(), drive, plugin, "10", "64")
		cmd.Env = append(os.Environ(), "WEIR_RING="+path)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "weir-firehose: ") {
			t.Errorf("ring %q: got %v\n%s", path, err, out)
		}
	}
}

// The command line of firehose names the plug-in by its whole path, and the ring in the environment.
func TestFirehoseCommand(t *testing.T) {
	plugin, _ := build(t)
	s := &shared{}
	file, err := os.Create(filepath.Join(t.TempDir(), "ring"))
	if err != nil {
		t.Fatal(err)
	}
	s.file = file
	e := &Engine{opts: Options{Script: plugin}, target: target{"firehose", []string{"0000:04:00.0"}}, shared: s}
	c := &child{}
	if err := c.arrange(e); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(c.args, " "), "firehose --input 0000:04:00.0 "+plugin; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := strings.Join(c.env, " "), "WEIR_RING="+file.Name(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
