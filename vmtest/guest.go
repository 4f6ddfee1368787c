package vmtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Binaries are the guest's init and the compiled tests.
type Binaries struct {
	init  string
	tests []testBinary
}

type testBinary struct {
	suite    Suite
	file     string
	testdata string // folder, empty: none
}

// Build compiles init and the tests of all suites into dir, without cgo: the guest has no libraries.
func Build(ctx context.Context, dir string, suites []Suite) (*Binaries, error) {
	compile := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	b := &Binaries{init: filepath.Join(dir, "init")}
	if err := compile("build", "-ldflags=-s -w", "-o", b.init, "weir/vmtest/init"); err != nil {
		return nil, err
	}
	for _, s := range suites {
		folder, err := output(exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", s.Package))
		if err != nil {
			return nil, fmt.Errorf("find package %s: %w", s.Package, err)
		}
		t := testBinary{suite: s, file: filepath.Join(dir, strings.ReplaceAll(s.Package, "/", "-")+".test")}
		if err := compile("test", "-c", "-ldflags=-s -w", "-o", t.file, s.Package); err != nil {
			return nil, err
		}
		if _, err := os.Stat(t.file); err != nil {
			return nil, fmt.Errorf("compile tests of %s: the package has none", s.Package)
		}
		data := filepath.Join(strings.TrimSpace(folder), "testdata")
		if info, err := os.Stat(data); err == nil && info.IsDir() {
			t.testdata = data
		}
		b.tests = append(b.tests, t)
	}
	return b, nil
}

// writeInitial writes the guest's initial file system. timeout is what each test binary gets.
func (b *Binaries) writeInitial(file string, modules []module, given []external, timeout time.Duration) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	buffered := bufio.NewWriter(out)
	a := newArchive(buffered)
	add := func(name, source string, mode uint32) error {
		data, err := os.ReadFile(source)
		if err == nil {
			a.file(name, mode, data)
		}
		return err
	}
	if err := add("/init", b.init, 0o755); err != nil {
		return err
	}
	var plan Plan
	for _, m := range modules {
		name := "/modules/" + m.name + ".ko"
		a.file(name, 0o644, m.data)
		plan.Modules = append(plan.Modules, Insert{File: name})
	}
	for _, m := range given {
		name := "/given/" + m.name + ".ko"
		a.file(name, 0o644, m.data)
		plan.Modules = append(plan.Modules, Insert{name, parameters(m.name)})
	}
	for _, t := range b.tests {
		if !t.suite.runsWith(given) {
			continue
		}
		dir := path.Join("/tests", t.suite.Package)
		binary := path.Join(dir, "run.test")
		if err := add(binary, t.file, 0o755); err != nil {
			return err
		}
		if t.testdata != "" {
			err := filepath.WalkDir(t.testdata, func(p string, d os.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				rel, err := filepath.Rel(t.testdata, p)
				if err != nil {
					return err
				}
				return add(path.Join(dir, "testdata", filepath.ToSlash(rel)), p, 0o644)
			})
			if err != nil {
				return fmt.Errorf("add test data of %s: %w", t.suite.Package, err)
			}
		}
		args := []string{binary, "-test.v", "-test.short", "-test.timeout=" + timeout.String()}
		if t.suite.Run != "" {
			args = append(args, "-test.run="+t.suite.Run)
		}
		if t.suite.Skip != "" {
			args = append(args, "-test.skip="+t.suite.Skip)
		}
		run := Run{Name: t.suite.Package, Dir: dir, Args: args}
		if t.suite.Module != "" {
			run.Env = []string{ModuleVariable + "=" + t.suite.Module}
		}
		plan.Tests = append(plan.Tests, run)
	}
	data, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	a.file(PlanFile, 0o644, data)
	if err := a.close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// Boot runs all tests under the kernel that is unpacked in root, with the given modules, which must be made for it, and writes what the guest reports to report as it comes.
// work is an empty folder for the guest's files; ctx ends a guest that hangs; timeout is what each test binary gets inside
// it. absent are the modules that this kernel does not have; an error from a guest that ran carries the end of its console.
func (b *Binaries) Boot(ctx context.Context, root, work string, given []external, timeout time.Duration, report io.Writer) (absent []string, err error) {
	kernel, err := findKernel(root)
	if err != nil {
		return nil, err
	}
	modules, absent, err := findModules(root, wanted(given))
	if err != nil {
		return nil, err
	}
	initial, console := filepath.Join(work, "initial.cpio"), filepath.Join(work, "console")
	if err := b.writeInitial(initial, modules, given, timeout); err != nil {
		return absent, err
	}
	defer os.Remove(initial)
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024", "-smp", "2",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-monitor", "none", "-serial", "file:"+console, "-serial", "stdio",
		"-kernel", kernel, "-initrd", initial, "-append", "console=ttyS0 quiet panic=-1")
	var complaints strings.Builder
	cmd.Stdout, cmd.Stderr = report, &complaints
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no end within the time allowed: %w", ctx.Err())
		}
		return absent, fmt.Errorf("run guest: %w\n%s%s", err, complaints.String(), tail(console))
	}
	return absent, nil
}

// findKernel returns the kernel's file in an unpacked package, which lies beside its modules in newer releases.
func findKernel(root string) (string, error) {
	for _, pattern := range []string{"boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz"} {
		if files, err := filepath.Glob(filepath.Join(root, pattern)); err == nil && len(files) == 1 {
			return files[0], nil
		}
	}
	return "", fmt.Errorf("find kernel in %s: neither one file boot/vmlinuz-* nor one usr/lib/modules/*/vmlinuz", root)
}

// tail returns the last 4 KiB of a console file, for a message.
func tail(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-4096):])
}
