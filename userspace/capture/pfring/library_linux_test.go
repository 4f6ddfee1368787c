//go:build libpfring

package pfring

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tests/need"
	"weir/userspace/traffic"
)

// The library is called as it is meant to be: by a fake of it, whose calls have the same signatures. The loader reads where libraries are
// when a process starts, so this is a test in a process of its own.
func TestLibrary(t *testing.T) {
	gcc := need.Tool(t, "gcc", "gcc libc6-dev")
	dir := t.TempDir()
	if out, err := exec.Command(gcc, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", filepath.Join(dir, "libpfring.so.8"), "testdata/libpfring/fake.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestLibraryInside$", "-test.v")
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+dir, "WEIR_FAKE_LIBPFRING=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestLibraryInside") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestLibraryInside(t *testing.T) {
	if os.Getenv("WEIR_FAKE_LIBPFRING") == "" {
		t.Skip("run by TestLibrary")
	}
	if _, err := Open(Options{Interface: "zc:other0"}); err == nil || !strings.Contains(err.Error(), "refused by libpfring") {
		t.Errorf("another device: got %v", err)
	}
	e, err := Open(Options{Interface: "zc:fake0", SnapLength: 128, Promiscuous: true, Watermark: 7, Cluster: 21, ClusterType: ClusterFiveTuple, KernelSampling: 10})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	n := 0
	if err := e.Run(ctx, func(int) func(*traffic.Frame) {
		return func(f *traffic.Frame) {
			if len(f.Data) != 60+n || f.Data[59] != byte(n) || f.Length != uint32(1000+n) || f.Interface != 7 || (n != 2 && f.Time != 1700000000000000000+int64(n)) || f.Time == 0 {
				t.Errorf("packet %d: %d of %d bytes, % x, time %d, interface %d", n, len(f.Data), f.Length, f.Data[:4], f.Time, f.Interface)
			}
			n++
		}
	}, func(int, time.Time) {
		if n == 5 {
			cancel()
		}
	}); err != nil {
		t.Error(err)
	}
	cancel()
	if s := e.Stats(); n != 5 || s.Received != 5 || s.KernelDrop != 3 || s.Mode != "libpfring" || s.Error != "" {
		t.Errorf("%d packets, %+v", n, s)
	}
}
