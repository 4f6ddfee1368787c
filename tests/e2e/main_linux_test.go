package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"weir/tests/need"
)

// programVariable names the environment variable with the path of the program under test.
const programVariable = "WEIR_E2E_PROGRAM"

// bpfFolder is where the BPF file system is mounted.
const bpfFolder = "/sys/fs/bpf"

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// runTests builds the program once for all tests. Without root they skip themselves, and nothing is built.
func runTests(m *testing.M) (code int, err error) {
	if os.Geteuid() != 0 {
		return m.Run(), nil
	}
	folder, err := os.MkdirTemp("", "weir-e2e-")
	if err != nil {
		return 1, fmt.Errorf("make folder for the program: %w", err)
	}
	if err := os.Chmod(folder, 0o755); err != nil { // also for those who are not root
		return 1, fmt.Errorf("open folder of the program: %w", err)
	}
	defer func() {
		if gone := os.RemoveAll(folder); err == nil && gone != nil {
			err = fmt.Errorf("remove program: %w", gone)
		}
	}()
	program := filepath.Join(folder, "weir")
	build := exec.Command("go", "build", "-o", program, "weir/cmd/weir")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build weir: %w\n%s", err, out)
	}
	if err := os.Setenv(programVariable, program); err != nil {
		return 1, err
	}
	if err := mountBPF(); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// mountBPF mounts the BPF file system where it is missing. It stays: every later user wants it in the same place.
func mountBPF() error {
	var s unix.Statfs_t
	if err := unix.Statfs(bpfFolder, &s); err != nil {
		return fmt.Errorf("look at %s: %w", bpfFolder, err)
	}
	if uint32(s.Type) == unix.BPF_FS_MAGIC { // the field is signed, and narrower on 32-bit systems
		return nil
	}
	if err := unix.Mount("bpf", bpfFolder, "bpf", 0, ""); err != nil {
		return fmt.Errorf("mount the BPF file system at %s: %w", bpfFolder, err)
	}
	return nil
}

// program is the path of the program under test.
func program(t *testing.T) string {
	t.Helper()
	need.Root(t)
	return os.Getenv(programVariable)
}
