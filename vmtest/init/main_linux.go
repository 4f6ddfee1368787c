// Command init is the first process of a vmtest guest: it mounts, inserts modules, runs the test binaries of its plan and restarts the machine, which ends QEMU.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"weir/vmtest"
)

func main() {
	// The devices come first: without them there is no line to report to, only the kernel's console.
	err := mount("dev", "devtmpfs", "/dev")
	report, openErr := os.OpenFile(vmtest.ReportLine, os.O_WRONLY|unix.O_NOCTTY, 0)
	if openErr != nil {
		fmt.Println("vmtest: open report line:", errors.Join(err, openErr))
		restart()
	}
	if err := run(report); err != nil {
		fmt.Fprintf(report, "%s%v\n", vmtest.MarkTrouble, err)
	} else {
		fmt.Fprintln(report, vmtest.MarkDone)
	}
	if err := drain(report); err != nil {
		fmt.Println("vmtest:", err)
	}
	restart()
}

// run sets the guest up and runs all tests. A test that fails is reported, and is no error here.
func run(report io.Writer) error {
	for _, m := range [][3]string{
		{"proc", "proc", "/proc"}, {"sys", "sysfs", "/sys"}, {"bpf", "bpf", "/sys/fs/bpf"}, {"tmp", "tmpfs", "/tmp"}, {"run", "tmpfs", "/run"},
		{"cgroup", "cgroup2", "/sys/fs/cgroup"},
	} {
		if err := mount(m[0], m[1], m[2]); err != nil {
			return err
		}
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("read kernel release: %w", err)
	}
	fmt.Fprintf(report, "%s%s\n", vmtest.MarkKernel, unix.ByteSliceToString(name.Release[:]))
	data, err := os.ReadFile(vmtest.PlanFile)
	if err != nil {
		return err
	}
	var plan vmtest.Plan
	if err := json.Unmarshal(data, &plan); err != nil {
		return fmt.Errorf("read %s: %w", vmtest.PlanFile, err)
	}
	for _, m := range plan.Modules {
		if err := insert(m); err != nil {
			return err
		}
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	for _, t := range plan.Tests {
		fmt.Fprintf(report, "%s%s\n", vmtest.MarkTest, t.Name)
		fmt.Fprintf(report, "%s%s %s\n", vmtest.MarkExit, t.Name, runTest(report, t))
	}
	return nil
}

func mount(source, kind, target string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}

func insert(m vmtest.Insert) error {
	f, err := os.Open(m.File)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), m.Parameters, 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("insert module %s: %w", m.File, err)
	}
	return nil
}

// loopbackUp does what `ip link set lo up` does.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// runTest returns "ok", or how the binary ended.
func runTest(report io.Writer, t vmtest.Run) string {
	cmd := exec.Command(t.Args[0], t.Args[1:]...)
	cmd.Dir = t.Dir
	cmd.Env = append([]string{"PATH=/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C"}, t.Env...)
	cmd.Stdout, cmd.Stderr = report, report
	if err := cmd.Run(); err != nil {
		return strings.ReplaceAll(err.Error(), "\n", " ")
	}
	return "ok"
}

// drain waits until the serial line has sent everything: what is left in it at a restart is lost.
func drain(f *os.File) error {
	if err := unix.IoctlSetInt(int(f.Fd()), unix.TCSBRK, 1); err != nil {
		return fmt.Errorf("flush report line: %w", err)
	}
	return nil
}

// restart ends QEMU, which runs with -no-reboot. It returns only if the kernel refuses; the kernel then panics for want of
// an init, and restarts after that.
func restart() {
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil {
		fmt.Println("vmtest: restart:", err)
		os.Exit(1)
	}
}
